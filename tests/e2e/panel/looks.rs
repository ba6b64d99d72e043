//! What every page has to keep to, narrow and wide, light and dark: nothing beside the
//! screen, text that can be read, all of it within reach of the keyboard, nothing in the
//! console, nothing from elsewhere.

use std::collections::BTreeSet;

use serde_json::Value;

use super::*;

/// Bytes of the first page with all that it loads, as they go over the wire.
const FIRST_PAGE: u64 = 100_000;

/// Texts that can be seen and hardly be read (WCAG 2.2, 1.4.3: 4.5 to 1, or 3 to 1 where
/// they are large): each with its colours and their contrast.
const FAINT: &str = r"
const canvas = document.createElement('canvas');
canvas.width = canvas.height = 1;
const context = canvas.getContext('2d', { willReadFrequently: true });
const rgba = colour => {
  context.clearRect(0, 0, 1, 1);
  context.fillStyle = colour;
  context.fillRect(0, 0, 1, 1);
  const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data;
  return [r, g, b, a / 255];
};
const over = (top, bottom) => [0, 1, 2].map(at => top[at] * top[3] + bottom[at] * (1 - top[3])).concat(1);
const behind = element => {
  const layers = [];
  for (let at = element; at; at = at.parentElement) {
    const colour = rgba(getComputedStyle(at).backgroundColor);
    layers.push(colour);
    if (colour[3] === 1) break;
  }
  const page = rgba(matchMedia('(prefers-color-scheme: dark)').matches ? '#121212' : '#ffffff');
  return layers.reverse().reduce((bottom, top) => over(top, bottom), page);
};
const luminance = colour => {
  const [r, g, b] = colour.map(part => {
    const share = part / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const faint = new Set();
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
let texts = 0;
while (walker.nextNode()) {
  const text = walker.currentNode.data.trim(), element = walker.currentNode.parentElement;
  if (!text || !element.checkVisibility({ visibilityProperty: true, opacityProperty: true })) continue;
  if (element.closest('.unseen, .skip, script, style, title, :disabled')) continue;
  texts += 1;
  const style = getComputedStyle(element), ground = behind(element);
  const ink = over(rgba(element instanceof SVGElement ? style.fill : style.color), ground);
  const [light, dark] = [luminance(ink), luminance(ground)].sort((a, b) => b - a);
  const contrast = (light + 0.05) / (dark + 0.05);
  const size = parseFloat(style.fontSize), isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
  if (contrast < (isLarge ? 3 : 4.5)) faint.add(`${text.slice(0, 40)}: ${contrast.toFixed(2)}, ${ink.map(Math.round)} on ${ground.map(Math.round)}`);
}
return { texts, faint: [...faint] };
";

/// What the keyboard has to reach, in the order of the page; of radio buttons one a group.
const REACHABLE: &str = r"
const all = document.querySelectorAll('a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex=\'0\']');
const seen = [...all].filter(element => !element.disabled && element.checkVisibility({ visibilityProperty: true }));
const groups = new Set();
const first = seen.filter(element => element.type !== 'radio' || (!groups.has(element.name) && groups.add(element.name)));
first.forEach((element, at) => element.setAttribute('data-at', at));
document.activeElement.blur();
return first.length;
";

/// Where the keyboard is, and whether that can be seen.
const FOCUS: &str = r"
const at = document.activeElement;
if (!at || at === document.body) return null;
const style = getComputedStyle(at);
const isMarked = (style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0) || style.boxShadow !== 'none';
const name = at.type === 'radio' ? document.querySelector(`[name='${at.name}'][data-at]`) : at;
return [Number(name?.getAttribute('data-at') ?? -1), isMarked, at.outerHTML.slice(0, 120)];
";

/// What is wrong with a page.
async fn faults(browser: &Browser, path: &str, as_what: &str) -> Vec<String> {
    browser.go(path).await;
    let mut faults = Vec::new();
    let beside = browser.run("return document.documentElement.scrollWidth - innerWidth").await.as_f64().unwrap();
    if beside > 0.0 {
        faults.push(format!("{beside} px lie beside the screen"));
    }
    let read = browser.run(FAINT).await;
    assert!(read["texts"].as_u64().unwrap() > 3, "{path} {as_what}: {read}");
    let elsewhere = "return performance.getEntriesByType('resource').map(entry => entry.name).filter(name => !name.startsWith(location.origin))";
    for said in [&read["faint"], &browser.run(elsewhere).await] {
        faults.extend(said.as_array().unwrap().iter().map(ToString::to_string));
    }
    faults.extend(browser.complaints().await);
    faults.into_iter().map(|fault| format!("{path} {as_what}: {fault}")).collect()
}

/// Goes through a page by the tabulator.
async fn check_keyboard(browser: &Browser, path: &str) {
    browser.go(path).await;
    let all = browser.run(REACHABLE).await.as_u64().unwrap();
    let mut reached = BTreeSet::new();
    for _ in 0..2 * all + 5 {
        browser.tab().await;
        let focus = browser.run(FOCUS).await;
        if focus.is_null() {
            continue;
        }
        assert_eq!(focus[1], Value::Bool(true), "{path}: nothing shows where the keyboard is: {}", focus[2]);
        reached.insert(focus[0].as_i64().unwrap());
        if reached.iter().filter(|at| **at >= 0).count() as u64 == all {
            return;
        }
    }
    panic!("{path}: the keyboard reaches {reached:?} of {all}");
}

#[tokio::test]
async fn pages_can_be_read_and_used_by_everybody() {
    let site = Site::with(&["gw-1", "gw-2", "gw-3"]).await;
    let mut gateway = site.gateway();
    gateway.hello("gw-1", KEY);
    let last_month = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().first_of_month().yesterday().unwrap();
    assert!(gateway.ask(&some_days(last_month).0).starts_with("<ack"));
    assert!(gateway.ask(&inverter("now", jiff::Timestamp::now(), 1_111.0, 9_000_000.0)).starts_with("<ack"));
    assert!(gateway.ask("<inventory>what is this</inventory>").starts_with("<nack"));
    heard_hours_ago(&site, "gw-2", 20).await;
    site.mail();

    let browser = site.browser().await;
    let mut found = faults(&browser, "/login", "before signing in").await;
    check_keyboard(&browser, "/login").await;
    let link = site.invite("owner@sunrise.example", "owner");
    found.extend(faults(&browser, &link, "before signing in").await);
    browser.choose_password(&link, PASSWORD).await;
    browser.go("/customers/new").await;
    browser.fill("#name", "Anna Castell").await;
    browser.submit("#name").await;
    let customer = browser.run("return location.pathname").await.as_str().unwrap().to_owned();
    browser.go("/gateways/gw-1").await;
    let location = browser.attribute("p.crumbs a[href^='/locations/']", "href").await;
    browser.go("/alerts").await;
    let alert = browser.attribute("main a[href^='/alerts/0']", "href").await;
    browser.go("/quarantine").await;
    let entry = browser.attribute("main td a, main th a", "href").await;

    browser.go("/").await;
    // What a browser has already counts too, and each answer has a head.
    let weight = "return performance.getEntries().reduce((sum, entry) => sum + (entry.encodedBodySize ? entry.encodedBodySize + 1000 : 0), 0)";
    let weight = browser.run(weight).await.as_u64().unwrap();
    assert!((1_000..=FIRST_PAGE).contains(&weight), "the first page takes {weight} bytes");

    let month = format!("/gateways/gw-1?period=month&date={last_month}");
    let of_location = format!("{location}?period=month&date={last_month}");
    let (equipment, edit) = (format!("{location}/manage"), format!("{location}/edit"));
    let paths = [
        "/",
        &month,
        "/gateways/gw-1/manage",
        "/gateways/gw-1/corrections",
        "/gateways/gw-1/replace",
        &of_location,
        &equipment,
        &edit,
        "/waiting",
        "/waiting/commission",
        "/customers",
        &customer,
        "/alerts",
        &alert,
        "/alerts/maintenance",
        "/alerts/settings",
        "/quarantine",
        &entry,
        "/mappings",
        "/mappings/edit",
        "/mails",
        "/people",
        "/people/new",
        "/people/tokens",
        "/audit",
        "/settings",
        "/account",
        "/account/tokens",
        "/account/second-step",
        "/api/v1/",
    ];
    for (width, dark) in [(390, false), (390, true), (1_400, false), (1_400, true)] {
        browser.show_as(width, dark).await;
        let as_what = format!("at {width} px, {}", if dark { "dark" } else { "light" });
        for path in paths {
            found.extend(faults(&browser, path, &as_what).await);
        }
    }
    assert_eq!(found, Vec::<String>::new());
    browser.show_as(1_400, false).await;
    for path in ["/", "/gateways/gw-1", "/settings", "/gateways/gw-1/corrections?kind=scale"] {
        check_keyboard(&browser, path).await;
    }
    browser.close().await;
}
