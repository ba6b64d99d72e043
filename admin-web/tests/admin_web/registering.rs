//! Gateways that are registered ahead from a sheet.

use axum::body::Body;
use axum::http::{Method, StatusCode, header};
use heliograph_domain::{GatewayState, ProviderSettings};

use crate::world::{Answer, LOCATION, Who, World, digest, gateway, request};

const BOUNDARY: &str = "heliograph-boundary";

/// Sends a form with parts, each a name and what it holds; `file` is sent as a file.
async fn send(world: &World, who: Who, parts: &[(&str, &[u8])]) -> Answer {
    let mut body = Vec::new();
    for (name, bytes) in parts {
        let file = if *name == "file" { "; filename=\"gateways.csv\"" } else { "" };
        body.extend(format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n").bytes());
        body.extend(*bytes);
        body.extend(b"\r\n");
    }
    body.extend(format!("--{BOUNDARY}--\r\n").bytes());
    let request = request(Method::POST, "/waiting/register", who)
        .header(header::CONTENT_TYPE, format!("multipart/form-data; boundary={BOUNDARY}"));
    world.send(request.body(Body::from(body)).unwrap()).await
}

async fn look(world: &World, sheet: &str) -> Answer {
    send(world, Who::Operator, &[("file", b""), ("text", sheet.as_bytes())]).await
}

async fn register(world: &World, sheet: &str) -> Answer {
    send(world, Who::Operator, &[("text", sheet.as_bytes()), ("action", b"register")]).await
}

async fn gateways(world: &World) -> Vec<(String, GatewayState)> {
    let all = world.store.gateway_list().await.unwrap();
    let mut all: Vec<_> = all.into_iter().map(|record| (record.id.to_string(), record.state)).collect();
    all.sort();
    all
}

/// The file that the page offers.
fn file(page: &str) -> String {
    let encoded = page.split_once("data:text/csv;charset=utf-8,").unwrap().1.split_once('"').unwrap().0;
    let mut bytes = Vec::new();
    let mut rest = encoded.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        if *first == b'%' {
            let code = std::str::from_utf8(&behind[..2]).unwrap();
            bytes.push(u8::from_str_radix(code, 16).unwrap());
            rest = &behind[2..];
        } else {
            bytes.push(*first);
            rest = behind;
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[tokio::test]
async fn nothing_is_written_before_it_is_confirmed_and_then_what_is_fine() {
    let world = World::new().await;
    let sheet = format!(
        "\u{feff}gateway;name;location;key\r\ngw-20;South roof;Haro winery;\ngw-21;Nowhere;Mars;\r\ngw-3;;{LOCATION};its-own-key\r\ngw-1;;Haro winery;\ngw-20;;Haro winery;\n"
    );
    let before = gateways(&world).await;
    let page = look(&world, &sheet).await;
    assert_eq!((page.status, page.header("cache-control")), (StatusCode::OK, "no-store"));
    for said in [
        "2 lines are fine. 3 are not.",
        "There is no such location.",
        "It is commissioned already.",
        "A line above names this gateway.",
        "It waits",
        "Commission 2 gateways and show the keys",
    ] {
        assert!(page.body.contains(said), "{said}: {}", page.body);
    }
    assert_eq!(gateways(&world).await, before, "looking writes nothing");

    let done = register(&world, &sheet).await;
    assert_eq!((done.status, done.header("cache-control")), (StatusCode::OK, "no-store"));
    assert!(done.body.contains("2 gateways are commissioned") && done.body.contains("Left out"), "{}", done.body);
    let file = file(&done.body);
    let lines: Vec<Vec<&str>> = file.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(lines[0], ["gateway", "name", "location", "key"]);
    assert_eq!(lines[1][..3], ["gw-20", "South roof", "Haro winery"]);
    assert_eq!(lines[2], ["gw-3", "", "Haro winery", ""], "a key that was given is not said again");
    let directory = world.store.gateway_directory().await.unwrap();
    let works = |name: &str, key: &str| {
        let entry = directory.iter().find(|entry| entry.gateway == gateway(name)).unwrap();
        entry.keys.iter().any(|known| known.digest == digest(key))
    };
    assert!(works("gw-20", lines[1][3]) && works("gw-3", "its-own-key"));
    let record = world.store.gateway_fetch(&gateway("gw-20")).await.unwrap();
    assert_eq!((record.name(), record.state), ("South roof", GatewayState::Commissioned));
    assert_eq!(record.location.unwrap().to_string(), LOCATION);
    assert!(world.store.gateway_fetch(&gateway("gw-21")).await.is_err());

    let again = register(&world, &sheet).await;
    assert!(again.body.contains("0 gateways are commissioned") && !again.body.contains("data:text/csv"), "{}", again.body);
}

#[tokio::test]
async fn what_is_no_sheet_is_refused_at_the_field() {
    let world = World::new().await;
    let large = format!("gateway,location\n{}", "x".repeat(1_000_000));
    let huge = format!("gateway,location\n{}", "x".repeat(1_200_000));
    let many = format!("gateway,location\n{}", "gw,Haro winery\n".repeat(1_001));
    for (sheet, problem) in [
        ("", "Its first line names no column “gateway”."),
        ("gateway,place\ngw-20,Haro\n", "Its first line names a column “place”"),
        (&large, "It has more than 1000 kB: split it."),
        (&huge, "It has more than 1000 kB: split it."),
        (&many, "It has more than 1000 lines: split it."),
    ] {
        let page = look(&world, sheet).await;
        assert_eq!(page.status, StatusCode::UNPROCESSABLE_ENTITY, "{problem}");
        assert!(page.body.contains(problem) && page.body.contains("id=\"text-problem\""), "{problem}");
    }
    let latin = send(&world, Who::Operator, &[("file", b"gateway,location\nD\xe4ch,Haro\n"), ("text", b"")]).await;
    assert!(latin.body.contains("It is not UTF-8: save it as CSV UTF-8."), "{}", latin.body);
}

#[tokio::test]
async fn what_a_sheet_says_is_inert() {
    let world = World::new().await;
    let script = "<script>alert(1)</script></textarea><b>";
    let sheet = format!("gateway,name,location\n\"=HYPERLINK(1)\",\"{script}\",Haro winery\n@gw,=1+1,\"{script}\"\n");
    let page = look(&world, &sheet).await;
    assert!(!page.body.contains("<script>") && !page.body.contains("</textarea><b>"), "{}", page.body);
    let done = register(&world, &sheet).await;
    assert!(!done.body.contains("<script>alert"), "{}", done.body);
    assert_eq!(file(&done.body).lines().nth(1).unwrap().split_once(',').unwrap().0, "'=HYPERLINK(1)");
    let record = world.store.gateway_fetch(&gateway("=HYPERLINK(1)")).await.unwrap();
    assert_eq!(record.name(), script, "it is kept as it was written");
}

#[tokio::test]
async fn a_thousand_lines_are_taken_and_no_more_than_there_may_be() {
    let world = World::new().await;
    let settings = world.store.settings_fetch().await.unwrap();
    world.store.settings_save(ProviderSettings { max_gateways: 900, ..settings }).await.unwrap();
    let lines: String = (0..1_000).map(|number| format!("new-{number},Roof {number},Haro winery\r\n")).collect();
    let sheet = format!("gateway,name,location\r\n{lines}");
    let page = send(&world, Who::Owner, &[("file", sheet.as_bytes()), ("text", b"other")]).await;
    assert!(page.body.contains("898 lines are fine. 102 are not."), "two stand there already");
    assert!(page.body.contains("There are as many gateways then as there may be."));
    let done = register(&world, &sheet).await;
    assert!(done.body.contains("898 gateways are commissioned"), "{}", done.body.len());
    assert_eq!(file(&done.body).lines().count(), 899);
    let in_use = gateways(&world).await.into_iter().filter(|(_, state)| *state == GatewayState::Commissioned).count();
    assert_eq!(in_use, 900);
}

#[tokio::test]
async fn it_is_for_owners_and_operators() {
    let world = World::new().await;
    let sheet: &[(&str, &[u8])] = &[("text", b"gateway,location\ngw-20,Haro winery\n"), ("action", b"register")];
    for (who, expected) in
        [(Who::Nobody, StatusCode::SEE_OTHER), (Who::Customer, StatusCode::NOT_FOUND), (Who::Viewer, StatusCode::FORBIDDEN)]
    {
        assert_eq!(send(&world, who, sheet).await.status, expected, "{who:?}");
    }
    assert!(world.store.gateway_fetch(&gateway("gw-20")).await.is_err());
    assert_eq!(send(&world, Who::Owner, sheet).await.status, StatusCode::OK);
    assert!(world.store.gateway_fetch(&gateway("gw-20")).await.is_ok());
}
