//! What of the fleet somebody wants to see, as the address says it.

use std::cmp::Ordering;

use heliograph_domain::{GatewayState, Reachability};
use heliograph_report::{GatewayLine, LocationLine, Need};
use serde::Deserialize;

use crate::error::Refusal;
use crate::shell::encode;

/// The longest text that is looked for.
pub(super) const MAX_SEARCH: usize = 100;

/// The address as it came.
#[derive(Debug, Deserialize, Default)]
#[serde(default)]
pub(crate) struct FleetQuery {
    view: String,
    q: String,
    state: String,
    sort: String,
    page: String,
}

/// What it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) view: View,
    /// What is looked for, as it was typed.
    pub(super) text: String,
    pub(super) show: Show,
    pub(super) sort: Sort,
    /// Counted from 1.
    pub(super) page: usize,
}

/// A list of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Gateways,
    Locations,
}

/// Which gateways are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Show {
    InUse,
    Heard(Reachability),
    Waiting,
    Retired,
    Needs(Need),
}

impl Show {
    /// All of them, in the order in which they are offered.
    pub(super) const ALL: [Self; 10] = [
        Self::InUse,
        Self::Heard(Reachability::Online),
        Self::Heard(Reachability::Late),
        Self::Heard(Reachability::Silent),
        Self::Heard(Reachability::Never),
        Self::Needs(Need::Clock),
        Self::Needs(Need::LowYield),
        Self::Needs(Need::Incomplete),
        Self::Waiting,
        Self::Retired,
    ];

    /// What the address calls it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::InUse => "",
            Self::Heard(Reachability::Online) => "online",
            Self::Heard(Reachability::Late) => "late",
            Self::Heard(Reachability::Silent) | Self::Needs(Need::Silent) => "silent",
            Self::Heard(Reachability::Never) | Self::Needs(Need::Never) => "never",
            Self::Needs(Need::Clock) => "clock",
            Self::Needs(Need::LowYield) => "low-yield",
            Self::Needs(Need::Incomplete) => "incomplete",
            Self::Waiting => "waiting",
            Self::Retired => "retired",
        }
    }

    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::InUse => "All in use",
            Self::Heard(Reachability::Online) => "Online",
            Self::Heard(Reachability::Late) => "Late",
            Self::Heard(Reachability::Silent) | Self::Needs(Need::Silent) => "Silent",
            Self::Heard(Reachability::Never) | Self::Needs(Need::Never) => "Never heard",
            Self::Needs(Need::Clock) => "Clock is wrong",
            Self::Needs(Need::LowYield) => "Far less than neighbours",
            Self::Needs(Need::Incomplete) => "Incomplete today",
            Self::Waiting => "Waiting",
            Self::Retired => "Retired",
        }
    }

    pub(super) fn takes(self, line: &GatewayLine) -> bool {
        match self {
            Self::InUse => line.is_commissioned(),
            Self::Heard(reachability) => line.is_commissioned() && line.reachability == reachability,
            Self::Waiting => line.state == GatewayState::Waiting,
            Self::Retired => line.state == GatewayState::Retired,
            Self::Needs(need) => line.need == Some(need),
        }
    }

    fn parse(text: &str) -> Result<Self, Refusal> {
        let found = Self::ALL.into_iter().find(|show| show.as_str() == text);
        found.ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|show| show.as_str()).filter(|text| !text.is_empty()).collect();
            Refusal::BadRequest(format!("“{text}” is no state of a gateway. There are {}.", known.join(", ")))
        })
    }
}

/// What gateways are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Name,
    Energy,
    Yield,
    Heard,
}

impl Key {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Energy => "energy",
            Self::Yield => "yield",
            Self::Heard => "heard",
        }
    }
}

/// An order of gateways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sort {
    pub(super) key: Key,
    /// The most, or the latest, first.
    pub(super) is_descending: bool,
}

impl Sort {
    /// All of them with what they are called, in the order in which they are offered.
    pub(super) const ALL: [(Self, &'static str); 8] = [
        (Self::up(Key::Name), "Name"),
        (Self::down(Key::Name), "Name, from the end"),
        (Self::up(Key::Yield), "Least kWh/kWp first"),
        (Self::down(Key::Yield), "Most kWh/kWp first"),
        (Self::up(Key::Energy), "Least energy first"),
        (Self::down(Key::Energy), "Most energy first"),
        (Self::up(Key::Heard), "Longest quiet first"),
        (Self::down(Key::Heard), "Last heard first"),
    ];

    pub(super) const fn up(key: Key) -> Self {
        Self { key, is_descending: false }
    }

    pub(super) const fn down(key: Key) -> Self {
        Self { key, is_descending: true }
    }

    /// What the address calls it.
    pub(super) fn text(self) -> String {
        format!("{}{}", if self.is_descending { "-" } else { "" }, self.key.as_str())
    }

    fn parse(text: &str) -> Result<Self, Refusal> {
        if text.is_empty() {
            return Ok(Self::up(Key::Name));
        }
        let found = Self::ALL.into_iter().find(|(sort, _)| sort.text() == text);
        let none = || Refusal::BadRequest(format!("“{text}” is no order. There are name, energy, yield and heard."));
        found.map(|(sort, _)| sort).ok_or_else(none)
    }

    /// Gateways of which it is not known come last, those that are alike by name.
    fn compare(self, a: &GatewayLine, b: &GatewayLine) -> Ordering {
        let seen = |line: &GatewayLine| line.last_seen.map(|seen| seen.as_millis());
        let order = match self.key {
            Key::Name => self.either(a.name.to_lowercase().cmp(&b.name.to_lowercase())),
            Key::Energy => self.known(a.energy_today_wh, b.energy_today_wh, f64::total_cmp),
            Key::Yield => self.known(a.yield_today, b.yield_today, f64::total_cmp),
            Key::Heard => self.known(seen(a), seen(b), Ord::cmp),
        };
        order.then_with(|| a.name.cmp(&b.name)).then_with(|| a.id.cmp(&b.id))
    }

    fn either(self, order: Ordering) -> Ordering {
        if self.is_descending { order.reverse() } else { order }
    }

    fn known<T>(self, a: Option<T>, b: Option<T>, compare: impl Fn(&T, &T) -> Ordering) -> Ordering {
        match (a, b) {
            (Some(a), Some(b)) => self.either(compare(&a, &b)),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
    }
}

impl FleetQuery {
    pub(super) fn parse(&self) -> Result<Wanted, Refusal> {
        let view = match self.view.as_str() {
            "" => View::Gateways,
            "locations" => View::Locations,
            other => return Err(Refusal::BadRequest(format!("“{other}” is no list of this page."))),
        };
        let text = self.q.trim();
        if text.chars().count() > MAX_SEARCH {
            return Err(Refusal::BadRequest(format!("What is looked for has more than {MAX_SEARCH} characters.")));
        }
        let page = match self.page.as_str() {
            "" => Some(1),
            text => text.parse().ok().filter(|page| *page > 0),
        };
        let none = || Refusal::BadRequest(format!("“{}” is no page. They are counted from 1.", self.page));
        Ok(Wanted {
            view,
            text: text.to_owned(),
            show: Show::parse(&self.state)?,
            sort: Sort::parse(&self.sort)?,
            page: page.ok_or_else(none)?,
        })
    }
}

impl Wanted {
    /// All gateways in use, by name.
    pub(super) const fn all() -> Self {
        Self { view: View::Gateways, text: String::new(), show: Show::InUse, sort: Sort::up(Key::Name), page: 1 }
    }

    /// The address that says so.
    pub(super) fn path(&self) -> String {
        let mut parts = Vec::new();
        if self.view == View::Locations {
            parts.push("view=locations".to_owned());
        }
        if !self.text.is_empty() {
            parts.push(format!("q={}", encode(&self.text)));
        }
        if self.show != Show::InUse {
            parts.push(format!("state={}", self.show.as_str()));
        }
        if self.sort != Sort::up(Key::Name) {
            parts.push(format!("sort={}", self.sort.text()));
        }
        if self.page > 1 {
            parts.push(format!("page={}", self.page));
        }
        if parts.is_empty() { "/".to_owned() } else { format!("/?{}", parts.join("&")) }
    }

    pub(super) fn on_page(&self, page: usize) -> Self {
        Self { page, ..self.clone() }
    }

    /// In another order, from its beginning.
    pub(super) fn by(&self, sort: Sort) -> Self {
        Self { sort, page: 1, ..self.clone() }
    }

    /// Whether it is not just everything.
    pub(super) fn is_narrowed(&self) -> bool {
        !self.text.is_empty() || self.show != Show::InUse
    }

    /// The gateways that fit, in order.
    pub(super) fn gateways<'a>(&self, all: &'a [GatewayLine]) -> Vec<&'a GatewayLine> {
        let mut found: Vec<&GatewayLine> = all.iter().filter(|line| self.show.takes(line) && self.fits(line)).collect();
        found.sort_by(|a, b| self.sort.compare(a, b));
        found
    }

    /// Whether what is looked for stands in a gateway's name, id or place.
    fn fits(&self, line: &GatewayLine) -> bool {
        let place = line.location.as_ref().map_or("", |location| location.name.as_str());
        has_all(&self.words(), &[&line.name, line.id.as_str(), place])
    }

    /// The locations that fit.
    pub(super) fn locations<'a>(&self, all: &'a [LocationLine]) -> Vec<&'a LocationLine> {
        let words = self.words();
        all.iter().filter(|line| has_all(&words, &[&line.location.name, line.zone.name()])).collect()
    }

    fn words(&self) -> Vec<String> {
        self.text.to_lowercase().split_whitespace().map(str::to_owned).collect()
    }
}

/// The gateways that fit a text and, where one is named, a state as the address of the
/// page calls it; all of them, whether in use or not, where none is.
pub(crate) fn find<'a>(all: &'a [GatewayLine], text: &str, state: Option<&str>) -> Result<Vec<&'a GatewayLine>, Refusal> {
    let query = FleetQuery { q: text.to_owned(), ..FleetQuery::default() };
    let wanted = query.parse()?;
    let show = state.map(Show::parse).transpose()?;
    let fits = |line: &&GatewayLine| show.is_none_or(|show| show.takes(line)) && wanted.fits(line);
    Ok(all.iter().filter(fits).collect())
}

/// Whether every word stands in one of the texts.
fn has_all(words: &[String], texts: &[&str]) -> bool {
    if words.is_empty() {
        return true;
    }
    let texts: Vec<String> = texts.iter().map(|text| text.to_lowercase()).collect();
    words.iter().all(|word| texts.iter().any(|text| text.contains(word.as_str())))
}

/// A page of a list, and the ways to the others.
pub(super) struct Paging {
    pub(super) from: usize,
    pub(super) to: usize,
    pub(super) all: usize,
    pub(super) page: usize,
    pub(super) pages: usize,
    /// Empty where there is none.
    pub(super) previous: String,
    pub(super) next: String,
}

impl Paging {
    /// The part of a list that a page shows; one beyond the last is the last.
    pub(super) fn cut<T>(wanted: &Wanted, list: Vec<T>, length: usize) -> (Vec<T>, Self) {
        let all = list.len();
        let pages = all.div_ceil(length).max(1);
        let page = wanted.page.min(pages);
        let before = (page - 1) * length;
        let shown: Vec<T> = list.into_iter().skip(before).take(length).collect();
        let path = |page: usize| if (1..=pages).contains(&page) { wanted.on_page(page).path() } else { String::new() };
        let paging = Self {
            from: before + usize::from(all > 0),
            to: before + shown.len(),
            all,
            page,
            pages,
            previous: path(page - 1),
            next: path(page + 1),
        };
        (shown, paging)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Result<Wanted, Refusal> {
        let mut query = FleetQuery::default();
        for (name, value) in text.split('&').filter_map(|pair| pair.split_once('=')) {
            let field = match name {
                "view" => &mut query.view,
                "q" => &mut query.q,
                "state" => &mut query.state,
                "sort" => &mut query.sort,
                _ => &mut query.page,
            };
            *field = value.to_owned();
        }
        query.parse()
    }

    #[test]
    fn what_an_address_means_is_what_it_is_written_as() {
        for text in [
            "/",
            "/?q=roof%2012",
            "/?state=silent&sort=-heard",
            "/?q=%26state%3Dlate&state=low-yield&sort=yield&page=3",
            "/?view=locations&q=haro&page=2",
        ] {
            let decoded = text.trim_start_matches("/?").replace("%20", " ");
            let wanted = query(&decoded.replace("%26state%3Dlate", "\u{1}")).unwrap();
            let wanted = Wanted { text: wanted.text.replace('\u{1}', "&state=late"), ..wanted };
            assert_eq!(wanted.path(), text);
        }
        assert_eq!(query("q=&state=&sort=name&page=1").unwrap(), Wanted::all());
        for show in Show::ALL {
            assert_eq!(query(&format!("state={}", show.as_str())).unwrap().show, show);
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for text in ["state=asleep", "sort=colour", "sort=--name", "page=0", "page=-1", "page=two", "view=map"] {
            assert!(matches!(query(text), Err(Refusal::BadRequest(_))), "{text}");
        }
        assert!(query(&format!("q={}", "é".repeat(MAX_SEARCH))).is_ok());
        assert!(query(&format!("q={}", "é".repeat(MAX_SEARCH + 1))).is_err());
    }

    #[test]
    fn a_list_is_cut_into_pages() {
        let check = |page: usize, all: usize, shown: (usize, usize), links: (&str, &str)| {
            let (items, paging) = Paging::cut(&Wanted { page, ..Wanted::all() }, (1..=all).collect(), 50);
            assert_eq!((paging.from, paging.to), shown, "page {page} of {all}");
            assert_eq!((items.first().copied().unwrap_or(0), items.last().copied().unwrap_or(0)), shown);
            assert_eq!((paging.previous.as_str(), paging.next.as_str()), links, "page {page} of {all}");
        };
        check(1, 0, (0, 0), ("", ""));
        check(1, 50, (1, 50), ("", ""));
        check(1, 51, (1, 50), ("", "/?page=2"));
        check(2, 51, (51, 51), ("/", ""));
        check(2, 1000, (51, 100), ("/", "/?page=3"));
        // Gateways may have been retired since.
        check(99, 51, (51, 51), ("/", ""));
        check(usize::MAX, 10, (1, 10), ("", ""));
    }

    #[test]
    fn every_word_has_to_be_found() {
        let words = |text: &str| Wanted { text: text.to_owned(), ..Wanted::all() }.words();
        let texts = ["Dach SÜD", "gw-0101", "Haro winery"];
        for (text, expected) in
            [("", true), ("süd", true), ("haro 0101", true), ("haro 0102", false), ("dach  WINERY ", true), ("%", false)]
        {
            assert_eq!(has_all(&words(text), &texts), expected, "{text}");
        }
    }
}
