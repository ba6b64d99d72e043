//! Unknown gateways that a provider adopts: no more than it may have.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use heliograph_domain::{GatewayId, UnknownGateways};

use crate::directory::Directory;

/// Those that this process has adopted and the directory does not tell of yet.
#[derive(Debug, Default)]
pub(crate) struct Adoptions(Mutex<HashSet<GatewayId>>);

impl Adoptions {
    /// Why an unknown gateway is refused; nothing where it is adopted. One that was
    /// adopted stays, however many there are since.
    pub(crate) fn refusal(&self, directory: &Directory, gateway: &GatewayId) -> Option<String> {
        if directory.settings.unknown_gateways == UnknownGateways::Refused {
            return Some(format!("gateway {gateway} is not commissioned yet"));
        }
        if directory.is_stored(gateway) {
            return None;
        }
        let mut adopted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if adopted.contains(gateway) {
            return None;
        }
        adopted.retain(|gateway| !directory.is_stored(gateway));
        let most = directory.settings.max_gateways;
        if directory.in_use() + adopted.len() >= most as usize {
            return Some(format!(
                "gateway {gateway} is not commissioned, and the provider has {most} gateways, as many as it may"
            ));
        }
        adopted.insert(gateway.clone());
        None
    }
}
