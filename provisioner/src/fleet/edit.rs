//! Changing the fleet file's text while its comments and layout stay.

use heliograph_domain::ProviderId;
use toml_edit::{DocumentMut, Item, Table, value};

use super::{Fleet, FleetError, Slot};

/// Why an edit was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// The file cannot be used as it stands.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// There is such a provider already.
    #[error("provider `{id}` is in the fleet already, with n = {slot}")]
    Exists {
        /// The provider.
        id: ProviderId,
        /// The slot it holds.
        slot: Slot,
    },
    /// Another provider holds the slot.
    #[error(
        "n = {slot} is held by `{holder}` (ports {} and {}); leave --n out for the lowest free one",
        slot.ingest_port(),
        slot.admin_port()
    )]
    SlotHeld {
        /// The slot asked for.
        slot: Slot,
        /// Who holds it.
        holder: ProviderId,
    },
    /// Every slot is held.
    #[error("all {} places of the fleet are taken", Slot::MAX)]
    Full,
}

/// Adds a provider at the end of the text, in the slot asked for or else in
/// the lowest free one. Returns the new text and the slot.
///
/// # Errors
/// When the text is no fleet, or the id or slot is taken.
pub fn add(text: &str, id: &ProviderId, slot: Option<Slot>) -> Result<(String, Slot), EditError> {
    let fleet = Fleet::parse(text)?;
    if let Some(provider) = fleet.providers.get(id) {
        return Err(EditError::Exists { id: id.clone(), slot: provider.slot });
    }
    let slot = slot.or_else(|| fleet.free_slot()).ok_or(EditError::Full)?;
    if let Some(holder) = fleet.holder(slot) {
        return Err(EditError::SlotHeld { slot, holder: holder.clone() });
    }
    let mut document = editable(text)?;
    let mut entry = Table::new();
    entry.insert("n", value(i64::from(slot.n())));
    if !document.as_table().is_empty() || !text.trim().is_empty() {
        entry.decor_mut().set_prefix("\n");
    }
    let providers = document.entry("provider").or_insert_with(implicit_table);
    if let Some(providers) = providers.as_table_like_mut() {
        providers.insert(id.as_str(), Item::Table(entry));
    }
    Ok((document.to_string(), slot))
}

/// Removes a provider's entry and the comments right above it. Returns the new
/// text; `None` when there is no such entry.
///
/// # Errors
/// When the text is no fleet.
pub fn remove(text: &str, id: &ProviderId) -> Result<Option<String>, EditError> {
    if !Fleet::parse(text)?.providers.contains_key(id) {
        return Ok(None);
    }
    let mut document = editable(text)?;
    if let Some(providers) = document.get_mut("provider").and_then(Item::as_table_like_mut) {
        providers.remove(id.as_str());
    }
    Ok(Some(document.to_string()))
}

fn editable(text: &str) -> Result<DocumentMut, FleetError> {
    text.parse::<DocumentMut>()
        .map_err(|error| FleetError { problems: vec![super::Problem { line: None, message: error.message().to_owned() }] })
}

fn implicit_table() -> Item {
    let mut table = Table::new();
    table.set_implicit(true);
    Item::Table(table)
}
