//! What pages say, as those read them who see no markup.

use crate::world::{Who, World};

/// The text of a page: a line for each block, without its head and its pictures.
fn text_of(page: &str) -> String {
    let body = page.split_once("<body").unwrap().1;
    let mut text = String::new();
    let mut rest = body.split_once('>').unwrap().1;
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(before);
        let (tag, after) = after.split_once('>').unwrap();
        let name: String = tag.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '/').collect();
        rest = match name.as_str() {
            "svg" => after.split_once("</svg>").unwrap().1,
            "datalist" => after.split_once("</datalist>").unwrap().1,
            _ => after,
        };
        match name.as_str() {
            "a" | "/a" | "b" | "/b" | "small" | "/small" | "code" | "/code" | "svg" | "strong" | "/strong" => {}
            "span" | "/span" | "dd" | "td" | "th" => text.push(' '),
            _ => text.push('\n'),
        }
    }
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn the_owner_sees_the_whole_fleet() {
    let world = World::new().await;
    insta::assert_snapshot!("fleet_of_the_owner", text_of(&world.get(Who::Owner, "/").await.body));
}

#[tokio::test]
async fn a_customer_sees_her_gateways() {
    let world = World::new().await;
    insta::assert_snapshot!("gateways_of_a_customer", text_of(&world.get(Who::Customer, "/").await.body));
}

#[tokio::test]
async fn a_gateways_week_is_told_in_figures() {
    let world = World::new().await;
    let page = world.get(Who::Owner, "/gateways/gw-1?period=week&date=2026-06-10").await;
    insta::assert_snapshot!("week_of_a_gateway", text_of(&page.body));
}

#[tokio::test]
async fn an_empty_panel_says_what_to_do_first() {
    let world = World::new().await;
    for name in ["gw-1", "gw-2"] {
        world.store.gateway_retire(&crate::world::gateway(name), world.now()).await.unwrap();
    }
    let page = world.get(Who::Owner, "/").await;
    assert!(page.body.contains("No gateway is commissioned yet. Add a location, then commission a gateway"));
    assert!(page.body.contains("Retired gateways (2)"));
}
