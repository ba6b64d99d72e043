//! A sheet of gateways that are to come, as somebody keeps it in a spreadsheet: read
//! into lines, each with what would become of it. Nothing here reads or writes a store.

use std::collections::{HashMap, HashSet};

use csv::{ReaderBuilder, StringRecord};
use heliograph_domain::{GatewayId, GatewayKey, GatewayState, Location, LocationId};

use super::parse_key;
use crate::form::{parse_optional_name, sentence};

/// The most lines below the heading.
pub(super) const MOST_LINES: usize = 1_000;
/// The largest sheet, in bytes.
pub(super) const MOST_BYTES: usize = 1_000_000;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Column {
    Gateway,
    Name,
    Location,
    Key,
}

impl Column {
    const ALL: [Self; 4] = [Self::Gateway, Self::Name, Self::Location, Self::Key];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Name => "name",
            Self::Location => "location",
            Self::Key => "key",
        }
    }
}

/// A line below the heading, as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Where it begins in the sheet, the heading being on line 1.
    pub(super) number: u64,
    pub(super) gateway: String,
    pub(super) name: String,
    pub(super) location: String,
    pub(super) key: String,
}

/// Reads a sheet: a heading that names the columns, in any order, then a line a gateway;
/// commas or semicolons, any line ends, quotes as RFC 4180 has them, with or without a
/// byte order mark.
///
/// # Errors
/// When it is no such sheet, as a sentence.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Line>, String> {
    if bytes.len() > MOST_BYTES {
        return Err(too_large());
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|_| "It is not UTF-8: save it as CSV UTF-8.".to_owned())?;
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut records = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(separator(&text))
        .from_reader(text.as_bytes())
        .into_records();
    let broken = |_| "It cannot be read as CSV.".to_owned();
    let heading = records.next().transpose().map_err(broken)?.unwrap_or_default();
    let columns = columns(&heading)?;
    let mut lines = Vec::new();
    for record in records {
        let record = record.map_err(broken)?;
        if record.iter().all(|cell| cell.trim().is_empty()) {
            continue;
        }
        if lines.len() == MOST_LINES {
            return Err(format!("It has more than {MOST_LINES} lines: split it."));
        }
        lines.push(Line::of(&record, &columns));
    }
    if lines.is_empty() { Err("No gateway stands below its heading.".to_owned()) } else { Ok(lines) }
}

/// What is said of one that has too many bytes.
pub(super) fn too_large() -> String {
    format!("It has more than {} kB: split it.", MOST_BYTES / 1_000)
}

/// What stands between the cells of the heading: spreadsheets write semicolons where a
/// comma stands before decimals.
fn separator(text: &str) -> u8 {
    let heading = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if heading.contains(';') { b';' } else { b',' }
}

fn columns(heading: &StringRecord) -> Result<Vec<Column>, String> {
    let mut columns = Vec::new();
    for cell in heading {
        let cell = cell.trim().to_lowercase();
        let column = Column::ALL.into_iter().find(|column| column.as_str() == cell);
        let column = column.ok_or_else(|| {
            let shown: String = cell.chars().take(40).collect();
            format!("Its first line names a column “{shown}”: there are gateway, name, location and key.")
        })?;
        if columns.contains(&column) {
            return Err(format!("Its first line names the column “{}” twice.", column.as_str()));
        }
        columns.push(column);
    }
    for needed in [Column::Gateway, Column::Location] {
        if !columns.contains(&needed) {
            return Err(format!("Its first line names no column “{}”.", needed.as_str()));
        }
    }
    Ok(columns)
}

impl Line {
    fn of(record: &StringRecord, columns: &[Column]) -> Self {
        let cell = |column: Column| {
            let place = columns.iter().position(|known| *known == column);
            place.and_then(|place| record.get(place)).map(|cell| cell.trim().to_owned()).unwrap_or_default()
        };
        Self {
            number: record.position().map_or(0, csv::Position::line),
            gateway: cell(Column::Gateway),
            name: cell(Column::Name),
            location: cell(Column::Location),
            key: cell(Column::Key),
        }
    }
}

/// What is known when lines are judged.
pub(super) struct Known<'a> {
    pub(super) locations: &'a [Location],
    pub(super) gateways: HashMap<GatewayId, GatewayState>,
    /// How many more may be commissioned.
    pub(super) room: usize,
}

/// What a line that is fine comes to.
#[derive(Debug, Clone)]
pub(super) struct Wish {
    pub(super) gateway: GatewayId,
    pub(super) label: Option<String>,
    pub(super) location: LocationId,
    /// None: one is made.
    pub(super) key: Option<GatewayKey>,
    /// What the gateway is now; none where nobody has heard of it.
    pub(super) state: Option<GatewayState>,
}

/// Says of each line what would become of it, or what is wrong with it.
pub(super) fn judge(lines: &[Line], known: &Known<'_>) -> Vec<Result<Wish, String>> {
    let (mut named, mut room) = (HashSet::new(), known.room);
    lines.iter().map(|line| known.judge(line, &mut named, &mut room)).collect()
}

impl Known<'_> {
    fn judge(&self, line: &Line, named: &mut HashSet<GatewayId>, room: &mut usize) -> Result<Wish, String> {
        let gateway = GatewayId::parse(&line.gateway).map_err(|error| sentence(&error.to_string()))?;
        if !named.insert(gateway.clone()) {
            return Err("A line above names this gateway.".to_owned());
        }
        let state = self.gateways.get(&gateway).copied();
        if state == Some(GatewayState::Commissioned) {
            return Err("It is commissioned already.".to_owned());
        }
        let label = parse_optional_name(&line.name).map_err(|problem| format!("The name {problem}."))?;
        let location = self.location(&line.location)?;
        let key = parse_key(&line.key).map_err(|problem| format!("The key {problem}."))?;
        *room = room.checked_sub(1).ok_or("There are as many gateways then as there may be.")?;
        Ok(Wish { gateway, label, location, key, state })
    }

    /// The location of an id or a name.
    fn location(&self, text: &str) -> Result<LocationId, String> {
        if text.is_empty() {
            return Err("It names no location.".to_owned());
        }
        let mut fitting = self.locations.iter().filter(|location| location.name == text || location.id.to_string() == text);
        match (fitting.next(), fitting.next()) {
            (Some(location), None) => Ok(location.id),
            (Some(_), Some(_)) => Err("Several locations are called so: write the id of one.".to_owned()),
            (None, _) => Err("There is no such location.".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use heliograph_domain::Zone;
    use uuid::Uuid;

    use super::*;

    fn location(number: u128, name: &str) -> Location {
        let id = LocationId::new(Uuid::from_u128(number));
        Location { id, name: name.to_owned(), zone: Zone::utc(), position: None, installed_kwp: None }
    }

    /// The lines as `number gateway|name|location|key`.
    fn shown(bytes: &[u8]) -> Result<Vec<String>, String> {
        let text = |line: Line| format!("{} {}|{}|{}|{}", line.number, line.gateway, line.name, line.location, line.key);
        read(bytes).map(|lines| lines.into_iter().map(text).collect())
    }

    #[test]
    fn sheets_read_alike_however_they_are_written() {
        for sheet in [
            "gateway,name,location,key\ngw-1,Roof,Haro,\ngw-2,,Haro,secret-key\n",
            "\u{feff}gateway,name,location,key\r\ngw-1,Roof,Haro,\r\ngw-2,,Haro,secret-key",
            "gateway;name;location;key\rgw-1;Roof;Haro;\rgw-2;;Haro;secret-key\r",
            "Gateway , NAME,Location,key\r\n\"gw-1\",\" Roof \",Haro\n gw-2,,\"Haro\",secret-key\r\n",
        ] {
            assert_eq!(shown(sheet.as_bytes()).unwrap(), ["2 gw-1|Roof|Haro|", "3 gw-2||Haro|secret-key"], "{sheet:?}");
        }
        let other = "location;gateway\nHaro, north;gw-1\n\n;;\nHaro;\"gw;\"\"2\"\"\"\n";
        assert_eq!(shown(other.as_bytes()).unwrap(), ["2 gw-1||Haro, north|", "5 gw;\"2\"||Haro|"]);
    }

    #[test]
    fn what_is_no_such_sheet_is_refused_as_a_whole() {
        for (sheet, problem) in [
            (&b""[..], "Its first line names no column “gateway”."),
            (b"gw-1,Haro\n", "Its first line names a column “gw-1”: there are gateway, name, location and key."),
            (b"gateway,name\ngw-1,Roof\n", "Its first line names no column “location”."),
            (b"gateway,location,gateway\n", "Its first line names the column “gateway” twice."),
            (b"gateway,location\n\n", "No gateway stands below its heading."),
            (b"gateway,location\nD\xe4ch,Haro\n", "It is not UTF-8: save it as CSV UTF-8."),
        ] {
            assert_eq!(shown(sheet).unwrap_err(), problem, "{sheet:?}");
        }
        let lines = |count: usize| {
            let lines = (0..count).map(|number| format!("gw-{number},Haro\n")).collect::<String>();
            read(format!("gateway,location\n{lines}").as_bytes()).map(|lines| lines.len())
        };
        assert_eq!(lines(MOST_LINES), Ok(MOST_LINES));
        assert_eq!(lines(MOST_LINES + 1), Err("It has more than 1000 lines: split it.".to_owned()));
        assert_eq!(read(&vec![b'x'; MOST_BYTES + 1]), Err("It has more than 1000 kB: split it.".to_owned()));
    }

    #[test]
    fn each_line_is_judged_for_itself() {
        let locations = [location(1, "Haro"), location(2, "Haro"), location(3, "Olite")];
        let id = |text: &str| GatewayId::parse(text).unwrap();
        let gateways = HashMap::from([
            (id("here"), GatewayState::Commissioned),
            (id("waits"), GatewayState::Waiting),
            (id("old"), GatewayState::Retired),
        ]);
        let by_id = locations[1].id.to_string();
        let check = |gateway: &str, name: &str, location: &str, key: &str| Line {
            number: 0,
            gateway: gateway.to_owned(),
            name: name.to_owned(),
            location: location.to_owned(),
            key: key.to_owned(),
        };
        let lines = [
            check("new", "<b>Roof</b>", "Olite", ""),
            check("waits", "", &by_id, "a-key-of-its-own"),
            check("here", "", "Olite", ""),
            check("new", "", "Olite", ""),
            check("", "", "Olite", ""),
            check("a", "", "Haro", ""),
            check("b", "", "Mars", ""),
            check("c", "", "", ""),
            check("d", "two\nlines", "Olite", ""),
            check("e", "", "Olite", "short"),
            check("old", "", "Olite", ""),
            check("f", "", "Olite", ""),
        ];
        let judged = judge(&lines, &Known { locations: &locations, gateways, room: 3 });
        let problem = |at: usize| judged[at].as_ref().unwrap_err().as_str();
        let fine: Vec<&Wish> = judged.iter().filter_map(|judged| judged.as_ref().ok()).collect();
        let ids: Vec<&str> = fine.iter().map(|wish| wish.gateway.as_str()).collect();
        assert_eq!(ids, ["new", "waits", "old"]);
        assert_eq!((fine[0].label.as_deref(), fine[0].location, fine[0].state), (Some("<b>Roof</b>"), locations[2].id, None));
        assert_eq!((fine[1].location, fine[1].state), (locations[1].id, Some(GatewayState::Waiting)));
        assert_eq!(fine[1].key.as_ref().map(GatewayKey::reveal), Some("a-key-of-its-own"));
        assert_eq!(problem(2), "It is commissioned already.");
        assert_eq!(problem(3), "A line above names this gateway.");
        assert_eq!(problem(4), "Gateway id is empty.");
        assert_eq!(problem(5), "Several locations are called so: write the id of one.");
        assert_eq!(problem(6), "There is no such location.");
        assert_eq!(problem(7), "It names no location.");
        assert_eq!(problem(8), "The name has a character that cannot be shown.");
        assert_eq!(problem(9), "The key must have at least 8 characters.");
        assert_eq!(problem(11), "There are as many gateways then as there may be.");
    }
}
