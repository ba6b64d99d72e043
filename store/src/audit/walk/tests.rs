//! Trails as somebody may have left them.

use super::*;
use crate::audit::AuditEvent;

fn event(object: &str) -> AuditEvent {
    AuditEvent {
        at: Timestamp::clamped(1_700_000_000_000),
        actor: "operator".to_owned(),
        action: "gateway.retire".to_owned(),
        object: object.to_owned(),
        detail: "{}".to_owned(),
    }
}

fn trail() -> Vec<AuditRow> {
    let mut head = AuditHead::NONE;
    (1..=6)
        .map(|number| {
            let row = head.follow(event(&format!("gateway:gw-{number}")));
            head = row.head();
            row
        })
        .collect()
}

fn walk(rows: &[AuditRow], stored: Option<AuditHead>, noted: Option<AuditHead>) -> Option<AuditFault> {
    let mut walk = AuditWalk::new(noted);
    rows.iter().for_each(|row| walk.step(row));
    walk.end(stored).fault
}

#[test]
fn a_trail_as_it_was_written_has_no_fault() {
    let rows = trail();
    let head = rows.last().map(AuditRow::head);
    assert_eq!(walk(&rows, head, None), None);
    assert_eq!(walk(&rows, head, Some(rows[2].head())), None);
    assert_eq!(walk(&[], None, None), None);
}

#[test]
fn every_field_is_part_of_the_hash() {
    let rows = trail();
    let head = rows.last().map(AuditRow::head);
    let changes: [fn(&mut AuditRow); 6] = [
        |row| row.at = row.at.plus_millis(1),
        |row| row.actor.push('x'),
        |row| row.action.push('x'),
        |row| row.object.push('x'),
        |row| row.detail.push('x'),
        // One text's end as the next one's beginning.
        |row| {
            row.object = format!("{}{}", row.action.pop().unwrap(), row.object);
        },
    ];
    for change in changes {
        let mut changed = rows.clone();
        change(&mut changed[3]);
        assert_eq!(walk(&changed, head, None), Some(AuditFault::Changed(4)));
    }
}

#[test]
fn removed_swapped_and_cut_entries_are_named() {
    let rows = trail();
    let head = rows.last().map(AuditRow::head);
    let mut removed = rows.clone();
    removed.remove(2);
    assert_eq!(walk(&removed, head, None), Some(AuditFault::Missing { from: 3, to: 3 }));
    let mut swapped = rows.clone();
    swapped.swap(1, 4);
    (swapped[1].seq, swapped[4].seq) = (2, 5);
    assert_eq!(walk(&swapped, head, None), Some(AuditFault::Changed(2)));
    assert_eq!(walk(&rows[..4], head, None), Some(AuditFault::Missing { from: 5, to: 6 }));
    assert_eq!(walk(&rows, Some(rows[3].head()), None), Some(AuditFault::BeyondHead(5)));
    assert_eq!(walk(&rows, None, None), Some(AuditFault::NoHead));
}

#[test]
fn a_trail_written_anew_does_not_fit_a_noted_head() {
    let rows = trail();
    let noted = rows[3].head();
    let mut head = AuditHead::NONE;
    let anew: Vec<AuditRow> = (1..=6)
        .map(|number| {
            let row = head.follow(event(&format!("gateway:other-{number}")));
            head = row.head();
            row
        })
        .collect();
    assert_eq!(walk(&anew, Some(head), None), None);
    assert_eq!(walk(&anew, Some(head), Some(noted)), Some(AuditFault::Rewritten(4)));
    let older = &rows[..2];
    assert_eq!(walk(older, Some(rows[1].head()), Some(noted)), Some(AuditFault::Missing { from: 3, to: 4 }));
}

#[test]
fn an_entry_is_held_against_what_is_kept_of_it() {
    let rows = trail();
    let first_fault = |row: &AuditRow, kept: &AuditRow| {
        let mut walk = AuditWalk::new(None);
        walk.step_with(row, Some(kept));
        walk.fault
    };
    let mut forged = AuditHead::NONE.follow(event("gateway:other"));
    assert_eq!(first_fault(&forged, &rows[0]), Some(AuditFault::Differs(1)));
    forged.seq = 3;
    assert_eq!(first_fault(&forged, &rows[2]), Some(AuditFault::Missing { from: 1, to: 2 }));
    let mut walk = AuditWalk::new(None);
    walk.step_with(&rows[0], Some(&rows[0]));
    walk.step_waiting(&rows[1]);
    let verdict = walk.end(Some(rows[1].head()));
    assert_eq!(verdict, AuditVerdict { head: rows[1].head(), fault: None, waiting: 1, restored: None });
    assert_eq!(verdict.problem(), None);
}

/// The entry of a restore with a fault that was known, after the last of some rows.
fn restored(rows: &[AuditRow], known: &str) -> AuditRow {
    let after = rows.last().unwrap().head();
    let mut detail = json!({});
    note_restored(&mut detail, known, after);
    after.follow(AuditEvent { action: RESTORE.to_owned(), detail: detail.to_string(), ..event("archive") })
}

fn verdict(rows: &[AuditRow]) -> AuditVerdict {
    let mut walk = AuditWalk::new(None);
    rows.iter().for_each(|row| walk.step(row));
    walk.end(rows.last().map(AuditRow::head))
}

#[test]
fn a_fault_that_was_known_at_a_restore_stays_one_and_hides_no_later_one() {
    let mut rows = trail();
    rows[2].actor.push('x');
    rows.push(restored(&rows, "entry 3 is not what was written there"));
    for name in ["gw-8", "gw-9"] {
        let row = rows.last().unwrap().head().follow(event(name));
        rows.push(row);
    }
    let found = verdict(&rows);
    assert_eq!((found.head.seq, found.fault), (2, Some(AuditFault::Changed(3))));
    let since = found.restored.clone().unwrap();
    assert_eq!((since.seq, since.head, since.fault), (7, rows[8].head(), None));
    assert!(found.problem().unwrap().contains("from there on it is as it was written, head 9:"), "{:?}", found.problem());

    rows[7].object.push('x');
    let since = verdict(&rows).restored.unwrap();
    assert_eq!((since.head.seq, since.fault), (7, Some(AuditFault::Changed(8))));
    // Restored once more, with both.
    rows.push(restored(&rows, "two faults"));
    let found = verdict(&rows);
    let since = found.restored.unwrap();
    assert_eq!(
        (found.fault, since.seq, since.known.as_str(), since.fault),
        (Some(AuditFault::Changed(3)), 10, "two faults", None)
    );
}

#[test]
fn a_trail_that_shows_nothing_of_the_fault_that_it_was_restored_with_is_not_taken_for_sound() {
    let mut rows = trail();
    rows.push(restored(&rows, "entries 7 to 9 are missing"));
    let found = verdict(&rows);
    assert_eq!((found.head.seq, found.fault), (6, Some(AuditFault::Restored(7))));
    assert_eq!(found.restored.unwrap().fault, None);
}

#[test]
fn an_entry_that_is_not_chained_to_what_it_names_vouches_for_nothing() {
    let mut rows = trail();
    rows[2].actor.push('x');
    let mut forged = restored(&rows, "nothing much");
    forged.detail = forged.detail.replace("nothing", "Nothing");
    rows.push(forged);
    assert_eq!(verdict(&rows).restored, None);
}
