//! How many unknown gateways a provider adopts.

use heliograph_domain::{GatewayId, GatewayState, ProviderSettings, RefusalCode, UnknownGateways};
use heliograph_ingest::IngestSettings;

use crate::server::{KEY, Server, commission, push};

fn of(gateway: &str, minute: usize) -> String {
    push("1", minute, &[1.0]).replace("gw-0001", gateway).replace(&format!(" key=\"{KEY}\""), "")
}

#[tokio::test]
async fn gateways_beyond_the_quota_wait_and_lose_nothing() {
    let quota = ProviderSettings { unknown_gateways: UnknownGateways::Adopted, max_gateways: 3, ..ProviderSettings::default() };
    let server = Server::with_provider(IngestSettings::default(), quota).await;
    let mut device = server.connect().await;
    // One is commissioned, so that two are adopted, however fast they come.
    for (gateway, minute) in [("a", 0), ("b", 0), ("a", 1), ("b", 1)] {
        assert_eq!(device.ask(&of(gateway, minute)).await, "<ack seq=\"1\" readings=\"1\"/>");
    }
    for gateway in ["c", "d"] {
        let answer = device.ask(&of(gateway, 0)).await;
        let told = "code=\"unknown-gateway\" retry=\"true\"";
        assert!(answer.contains(told) && answer.contains("has 3 gateways, as many as it may"), "{answer}");
    }
    assert_eq!(device.ask(&push("1", 0, &[1.0])).await, "<ack seq=\"1\" readings=\"1\"/>");
    let held = server.quarantine().await;
    assert_eq!(held.iter().map(|row| row.entry.code).collect::<Vec<_>>(), [RefusalCode::UnknownGateway; 2]);
    let waiting = server.store.gateway_fetch(&GatewayId::parse("c").unwrap()).await.unwrap();
    assert_eq!((waiting.state, waiting.documents), (GatewayState::Waiting, 0));
    // Who has a place is taken, however many were adopted.
    commission(&server.store, "e", "UTC", 5).await;
}
