//! What to do now: what needs somebody, the worst first, each with where to go.

use heliograph_domain::Timestamp;
use heliograph_report::{FleetOverview, FleetTotals, GatewayLine, HeldBack, Need, format};

use super::query::{Show, Wanted};
use crate::figures::Tone;
use crate::form::ago;
use crate::shell::encode;

/// Lines that are shown at most, but for those that say how many more there are.
const SHOWN: usize = 10;

/// What the page says of it.
pub(super) struct Todo {
    pub(super) items: Vec<Item>,
    /// Where nothing needs anybody: that, in a word and in a sentence.
    pub(super) fine: Option<(&'static str, String)>,
}

/// A line of the list.
pub(super) struct Item {
    pub(super) class: &'static str,
    /// What is the matter, in a word; empty where the line before says it.
    pub(super) word: &'static str,
    /// What the link says.
    pub(super) name: String,
    pub(super) path: String,
    /// What is the matter, and what to do about it.
    pub(super) text: String,
}

/// Lines of one kind, and where all of them are listed.
struct Group {
    items: Vec<Item>,
    all: Option<(Show, &'static str)>,
}

impl Todo {
    pub(super) fn of(overview: &FleetOverview, now: Timestamp) -> Self {
        let groups = groups(overview, now);
        let counts: Vec<usize> = groups.iter().map(|group| group.items.len()).collect();
        let items: Vec<Item> =
            groups.into_iter().zip(allot(&counts, SHOWN)).flat_map(|(group, shown)| group.cut(shown)).collect();
        let fine = items.is_empty().then(|| fine(&overview.totals));
        Self { items, fine }
    }
}

/// The worst first. What waits and what is held back is lost one day, so that it comes
/// before what is only less than it could be.
fn groups(overview: &FleetOverview, now: Timestamp) -> Vec<Group> {
    let mut groups = Vec::new();
    let (mut waiting, mut held_back) = (waiting(overview), overview.held_back.as_ref().map(|held_back| held(held_back, now)));
    for (need, lines) in overview.needs() {
        if need > Need::Clock {
            groups.extend(waiting.take());
        }
        if need > Need::LowYield {
            groups.extend(held_back.take());
        }
        groups.push(Group { items: lines.into_iter().map(|line| gateway(need, line, now)).collect(), all: Some(listed(need)) });
    }
    groups.extend(waiting);
    groups.extend(held_back);
    groups
}

impl Group {
    fn cut(mut self, shown: usize) -> Vec<Item> {
        let more = self.items.len().saturating_sub(shown);
        self.items.truncate(shown);
        if let Some((show, what)) = self.all.filter(|_| more > 0) {
            let class = self.items.first().map_or(Tone::Plain.class(), |item| item.class);
            let path = Wanted { show, ..Wanted::all() }.path();
            self.items.push(Item { class, word: "", name: format!("and {more} more {what}"), path, text: String::new() });
        }
        self.items
    }
}

/// How many of each to show, so that no kind is hidden by another one.
fn allot(counts: &[usize], most: usize) -> Vec<usize> {
    let mut shown: Vec<usize> = counts.iter().map(|count| (*count).min(most)).collect();
    while shown.iter().sum::<usize>() > most {
        // Of those that are as long the last one, which is the least bad.
        match shown.iter_mut().max_by_key(|shown| **shown) {
            Some(longest) => *longest -= 1,
            None => break,
        }
    }
    shown
}

/// Where those of a need are listed, and what they are called there.
const fn listed(need: Need) -> (Show, &'static str) {
    let what = match need {
        Need::Silent => "that are silent",
        Need::Clock => "with a wrong clock",
        Need::LowYield => "that gave far less than their neighbours",
        Need::Incomplete => "of which much is missing",
        Need::Never => "that were never heard",
    };
    (Show::Needs(need), what)
}

fn gateway(need: Need, line: &GatewayLine, now: Timestamp) -> Item {
    let path = format!("/gateways/{}", encode(line.id.as_str()));
    let item = |word, tone: Tone, text| Item { class: tone.class(), word, name: line.name.clone(), path: path.clone(), text };
    let place = line.location.as_ref().map(|location| format!(" at {}", location.name)).unwrap_or_default();
    match need {
        Need::Silent => {
            let last = line.last_seen.map(|seen| ago(seen, now)).unwrap_or_default();
            item("Silent", Tone::Bad, format!("was last heard {last}{place}. See whether it has power and a connection."))
        }
        Need::Clock => {
            let wrong = line.clock.as_ref().map(|clock| clock.size()).unwrap_or_default();
            let text = format!("says the wrong time: {wrong}. Its page says what sets it right.");
            Item { path: format!("{path}/manage"), ..item("Clock", Tone::Bad, text) }
        }
        Need::LowYield => {
            let share = line.yield_share.map(format::percent).unwrap_or_default();
            let text =
                format!("gave {share} of what its neighbours{place} gave today for each kWp. Look for what shades or stops it.");
            item("Low yield", Tone::Warn, text)
        }
        Need::Incomplete => {
            let measured = line.completeness.ratio().map(format::percent).unwrap_or_default();
            let text = format!("sent {measured} of what was expected today{place}. See which sensor is missing.");
            item("Incomplete", Tone::Warn, text)
        }
        Need::Never => {
            let text = format!("is commissioned{place} and was never heard. See whether it has the right address and key.");
            item("Never heard", Tone::Plain, text)
        }
    }
}

fn waiting(overview: &FleetOverview) -> Option<Group> {
    let waiting = overview.totals.waiting;
    let name = match waiting {
        0 => return None,
        1 => "One gateway".to_owned(),
        more => format!("{more} gateways"),
    };
    let text = if waiting == 1 { "has called and waits for a place." } else { "have called and wait for a place." };
    let item = Item { class: Tone::Warn.class(), word: "Waiting", name, path: "/waiting".to_owned(), text: text.to_owned() };
    Some(Group { items: vec![item], all: None })
}

fn held(held_back: &HeldBack, now: Timestamp) -> Group {
    let HeldBack { documents, more, newest } = held_back;
    let path = "/quarantine".to_owned();
    if *documents == 0 {
        let text = "is full of documents of gateways that are not known here. See whether some of them are yours.";
        let (name, text) = ("The quarantine".to_owned(), text.to_owned());
        return Group { items: vec![Item { class: Tone::Warn.class(), word: "Quarantine", name, path, text }], all: None };
    }
    let (name, text) = match (documents, more) {
        (1, false) => ("One document".to_owned(), "of a gateway was"),
        (documents, false) => (format!("{documents} documents"), "of gateways were"),
        (documents, true) => (format!("{documents} documents or more"), "of gateways were"),
    };
    let text = format!("{text} refused within a week, the last one {}. See why, and try again.", ago(*newest, now));
    let item = Item { class: Tone::Warn.class(), word: "Quarantine", name, path, text };
    Group { items: vec![item], all: None }
}

fn fine(totals: &FleetTotals) -> (&'static str, String) {
    let all = totals.commissioned();
    match (all, totals.late) {
        (1, 0) => ("Everything is fine", "The gateway is heard in its rhythm.".to_owned()),
        (_, 0) => ("Everything is fine", format!("All {all} gateways are heard in their rhythm.")),
        (_, 1) => (
            "Nothing to do now",
            "One gateway is late. It may come back by itself; after 6 h it stands here as silent.".to_owned(),
        ),
        (_, late) => (
            "Nothing to do now",
            format!("{late} gateways are late. They may come back by themselves; after 6 h they stand here as silent."),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_kind_hides_another_one() {
        for (counts, expected) in [
            (vec![], vec![]),
            (vec![300], vec![10]),
            (vec![300, 2, 1], vec![7, 2, 1]),
            (vec![300, 200, 100], vec![4, 3, 3]),
            (vec![9, 9, 9, 9, 9, 1, 1], vec![2, 2, 2, 1, 1, 1, 1]),
            (vec![4, 6], vec![4, 6]),
        ] {
            assert_eq!(allot(&counts, 10), expected, "{counts:?}");
        }
    }
}
