//! Whether the nodes keep what an ack promises. A coordinator answers once a
//! majority of replicas have a write in their commit log; what a log survives is
//! each node's own setting.

use std::sync::Arc;

use futures_util::future::join_all;
use scylla::client::session::Session;
use scylla::cluster::Node;
use scylla::policies::load_balancing::{NodeIdentifier, SingleTargetLoadBalancingPolicy};
use scylla::statement::Consistency;
use scylla::statement::unprepared::Statement;

use super::Database;
use crate::error::StoreError;

/// A node's address, and its `commitlog_sync` or why it did not say.
type Answer = (String, Result<String, String>);

impl Database {
    /// Why an acked write may not survive the loss of power, if it may not.
    pub(crate) async fn power_loss_shortfall(&self) -> Result<Option<String>, StoreError> {
        let session = self.session().await?;
        let state = session.get_cluster_state();
        let ours = |node: &&Arc<Node>| node.datacenter.as_deref() == Some(self.inner.connection.datacenter());
        let answers = join_all(state.get_nodes_info().iter().filter(ours).map(|node| ask(&session, node))).await;
        Ok(shortfall(&answers))
    }
}

async fn ask(session: &Session, node: &Arc<Node>) -> Answer {
    let mut statement = Statement::new("SELECT value FROM system_views.settings WHERE name = 'commitlog_sync'");
    let target = NodeIdentifier::HostId(node.host_id);
    statement.set_load_balancing_policy(Some(SingleTargetLoadBalancingPolicy::new(target, None)));
    statement.set_consistency(Consistency::One);
    statement.set_is_idempotent(true);
    let asked = Box::pin(session.query_unpaged(statement, ())).await.map_err(|error| error.to_string());
    let said = asked.and_then(|result| {
        let rows = result.into_rows_result().map_err(|error| error.to_string())?;
        rows.single_row::<(String,)>().map(|(value,)| value).map_err(|error| error.to_string())
    });
    (node.address.ip().to_string(), said)
}

/// `group` and `batch` sync the log before they answer, `periodic` some seconds
/// later. A node that is away cannot answer a write either.
fn shortfall(answers: &[Answer]) -> Option<String> {
    let of = |answer: &Answer| match answer {
        (_, Ok(mode)) if mode == "group" || mode == "batch" => None,
        (node, Ok(mode)) => Some(format!("{node} runs with commitlog_sync: {mode}")),
        (node, Err(error)) => Some(format!("{node} does not say what its commitlog_sync is ({error})")),
    };
    let short: Vec<String> = answers.iter().filter_map(of).collect();
    (!short.is_empty()).then(|| format!("{}; set commitlog_sync: group on every node", short.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_is_synced_later_falls_short_of_power_loss() {
        let said = |modes: &[&str]| -> Option<String> {
            let answers: Vec<Answer> =
                modes.iter().enumerate().map(|(node, mode)| (format!("10.0.0.{node}"), Ok((*mode).to_owned()))).collect();
            shortfall(&answers)
        };
        assert_eq!(said(&["group", "batch", "group"]), None);
        let problem = said(&["group", "periodic", "batch"]).unwrap();
        assert!(problem.contains("10.0.0.1 runs with commitlog_sync: periodic") && !problem.contains("10.0.0.2"), "{problem}");
        let silent = shortfall(&[("10.0.0.9".to_owned(), Err("away".to_owned()))]).unwrap();
        assert!(silent.contains("10.0.0.9"), "{silent}");
    }
}
