//! Whether the nodes keep what an ack promises. A coordinator answers once a
//! majority of replicas have a write in their commit log; what a log survives is
//! each node's own setting.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use scylla::client::session::Session;
use scylla::cluster::Node;
use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::statement::Consistency;
use scylla::statement::unprepared::Statement;

use super::Database;
use crate::error::StoreError;
use crate::store::AckCheck;

/// How long a node may take to say what it is set to.
const PATIENCE: Duration = Duration::from_secs(1);

/// A node's address, and its `commitlog_sync` or why it did not say.
type Answer = (String, Result<String, String>);

impl Database {
    /// Whether an acked write survives the loss of power, as far as the nodes say. It is
    /// remembered for [`Self::ack_known`].
    pub(crate) async fn power_loss_check(&self) -> Result<AckCheck, StoreError> {
        let session = self.session().await?;
        let state = session.get_cluster_state();
        let ours = |node: &&Arc<Node>| node.datacenter.as_deref() == Some(self.inner.connection.datacenter());
        let answers = join_all(state.get_nodes_info().iter().filter(ours).map(|node| ask(&session, node))).await;
        let check = judge(&answers);
        let mut known = self.inner.ack_known.lock().unwrap_or_else(PoisonError::into_inner);
        // Nodes that have gone meanwhile come back as they were.
        if check.silent.is_none() || check.shortfall.is_some() || known.is_none() {
            *known = Some(check.clone());
        }
        Ok(check)
    }

    /// What the nodes said when they could be asked last, if that was ever.
    pub(crate) fn ack_known(&self) -> Option<AckCheck> {
        self.inner.ack_known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn ask(session: &Session, node: &Arc<Node>) -> Answer {
    let mut statement = Statement::new("SELECT value FROM system_views.settings WHERE name = 'commitlog_sync'");
    let target = NodeIdentifier::HostId(node.host_id);
    statement.set_load_balancing_policy(Some(SingleTargetLoadBalancingPolicy::new(target, None)));
    statement.set_consistency(Consistency::One);
    statement.set_is_idempotent(true);
    // One that hangs is away, and holds up nobody who asks the others.
    let asked = tokio::time::timeout(PATIENCE, Box::pin(session.query_unpaged(statement, ()))).await;
    let asked = asked.map_or_else(|_| Err("it does not answer".to_owned()), |said| said.map_err(|error| error.to_string()));
    let said = asked.and_then(|result| {
        let rows = result.into_rows_result().map_err(|error| error.to_string())?;
        rows.single_row::<(String,)>().map(|(value,)| value).map_err(|error| error.to_string())
    });
    (node.address.ip().to_string(), said)
}

/// `group` and `batch` sync the log before they answer, `periodic` some seconds
/// later. A node that is away acknowledges no write either: of it nothing is said but
/// that.
fn judge(answers: &[Answer]) -> AckCheck {
    let (mut short, mut silent) = (Vec::new(), Vec::new());
    for (node, said) in answers {
        match said {
            Ok(mode) if mode == "group" || mode == "batch" => {}
            Ok(mode) => short.push(format!("{node} runs with commitlog_sync: {mode}")),
            Err(error) => silent.push(format!("{node} ({error})")),
        }
    }
    let some = |all: Vec<String>| (!all.is_empty()).then(|| all.join(", "));
    AckCheck {
        shortfall: some(short).map(|short| format!("{short}; set commitlog_sync: group on every node")),
        silent: some(silent),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(said: &[Result<&str, &str>]) -> AckCheck {
        let owned = |said: &Result<&str, &str>| said.map(str::to_owned).map_err(str::to_owned);
        judge(&said.iter().enumerate().map(|(node, said)| (format!("10.0.0.{node}"), owned(said))).collect::<Vec<_>>())
    }

    #[test]
    fn a_log_that_is_synced_later_falls_short_of_power_loss() {
        assert_eq!(check(&[Ok("group"), Ok("batch"), Ok("group")]), AckCheck::default());
        let AckCheck { shortfall, silent } = check(&[Ok("group"), Ok("periodic"), Ok("batch")]);
        let problem = shortfall.unwrap();
        assert!(problem.contains("10.0.0.1 runs with commitlog_sync: periodic") && !problem.contains("10.0.0.2"), "{problem}");
        assert_eq!(silent, None);
    }

    #[test]
    fn a_node_that_is_away_is_named_and_makes_no_ack_worse() {
        let AckCheck { shortfall, silent } = check(&[Ok("group"), Err("away"), Ok("batch")]);
        assert_eq!((shortfall, silent.as_deref()), (None, Some("10.0.0.1 (away)")));
        let AckCheck { shortfall, silent } = check(&[Ok("periodic"), Err("away")]);
        assert!(shortfall.unwrap().starts_with("10.0.0.0 runs with commitlog_sync: periodic;"));
        assert_eq!(silent.as_deref(), Some("10.0.0.1 (away)"));
    }
}
