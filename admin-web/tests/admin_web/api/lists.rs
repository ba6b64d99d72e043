//! Lists, a part at a time.

use super::*;

/// Walks a list, and answers what is in it.
async fn walk(world: &World, by: By, list: &str) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let sign = if list.contains('?') { '&' } else { '?' };
        let page = get(world, by, &format!("{list}{sign}limit=97{cursor}")).await;
        let items = page["items"].as_array().unwrap();
        assert!(items.len() <= 97);
        all.extend(items.iter().cloned());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return all,
        }
        world.pass(1);
    }
}

#[tokio::test]
async fn long_lists_are_walked_without_loss_and_forged_cursors_are_refused() {
    let world = world().await;
    for number in 0..1040 {
        let customer = Customer { id: CustomerId::new(id(2, 100 + number)), name: format!("No. {number}"), email: None };
        world.store.customer_save(customer).await.unwrap();
    }
    let customers = walk(&world, By::Owner, "/api/v1/customers").await;
    let ids: BTreeSet<&str> = customers.iter().map(|customer| customer["id"].as_str().unwrap()).collect();
    assert_eq!((customers.len(), ids.len()), (1042, 1042));
    let audit = walk(&world, By::Owner, "/api/v1/audit").await;
    let numbers: Vec<u64> = audit.iter().map(|entry| entry["seq"].as_u64().unwrap()).collect();
    assert!(numbers.len() > 1040 && numbers == (1..=numbers.len() as u64).collect::<Vec<_>>());

    let from = "from=2026-05-31T22:00:00Z&until=2026-06-18T13:07:00Z";
    let readings = walk(&world, By::Owner, &format!("/api/v1/gateways/gw-1/readings?{from}")).await;
    let times: BTreeSet<&str> = readings.iter().map(|reading| reading["at"].as_str().unwrap()).collect();
    let expected = usize::try_from(start().millis_since(at("2026-05-31T22:00:00Z")) / 900_000 + 1).unwrap();
    assert_eq!((readings.len(), times.len()), (expected, expected));
    assert_eq!(readings[3]["value"], 3_000.0);
    let hers = walk(&world, By::Customer, &format!("/api/v1/gateways/gw-1/readings?{from}")).await;
    assert_eq!(hers[0]["at"], "2026-06-09T22:00:00Z", "a customer's begin with its commission");
    let none = walk(&world, By::Owner, &format!("/api/v1/gateways/gw-1/readings?{from}&sensor=none")).await;
    assert_eq!(none, Vec::<Value>::new());

    world.pass(1);
    let cursor = get(&world, By::Owner, "/api/v1/customers?limit=1").await["next"].as_str().unwrap().to_owned();
    for bad in [
        "/customers?cursor=x",
        "/customers?cursor=",
        &format!("/locations?cursor={cursor}"),
        &format!("/gateways/gw-1/readings?{from}&cursor={cursor}"),
        "/customers?limit=0",
        "/customers?limit=501",
        "/customers?limit=many",
        "/customers?page=2",
        "/gateways?state=asleep",
        "/gateways/gw-1/readings?from=yesterday",
        "/gateways/gw-1/readings",
        "/gateways/gw-1/readings?from=2020-01-01T00:00:00Z",
        "/gateways/gw-1/report?period=fortnight",
    ] {
        let answer = ask(&world, By::Owner, &Method::GET, &format!("/api/v1{bad}"), None).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{bad}");
        assert!(problem(&answer)["type"].as_str().unwrap().ends_with("#bad-request"), "{bad}");
    }
}

#[tokio::test]
async fn mails_are_walked_a_part_at_a_time_and_letters_take_a_scope() {
    let world = world().await;
    let mail = world.store.outbox_fetch(OutboxId::parse(MAIL).unwrap()).await.unwrap().row;
    for number in 0..120 {
        let report = if number % 3 == 0 { format!("letter/invitation/{}", id(5, 3)) } else { "daily".to_owned() };
        let new = OutboxNew {
            id: OutboxId::new(id(8, number)),
            key: OutboxKey { report, period: number.to_string(), recipient: mail.key.recipient.clone() },
            subject: "Your day".to_owned(),
            message_id: format!("<{number}@sunrise.example>"),
            message: Vec::new(),
            created: start().plus_millis(i64::try_from(number / 2 * 1000).unwrap()),
            due: start(),
        };
        assert!(Letter::is_one(&new.key) == (number % 3 == 0) && world.store.outbox_put(new).await.unwrap());
    }
    for (by, count) in [(By::Owner, 121), (By::ReadOnlyOwner, 81), (By::Operator, 81), (By::Viewer, 81)] {
        let mails = walk(&world, by, "/api/v1/mails").await;
        let ids: BTreeSet<&str> = mails.iter().map(|mail| mail["id"].as_str().unwrap()).collect();
        assert_eq!((mails.len(), ids.len()), (count, count), "{by:?}");
        let times: Vec<&str> = mails.iter().map(|mail| mail["created"].as_str().unwrap()).collect();
        assert!(times.is_sorted_by(|a, b| a >= b), "the newest first: {times:?}");
    }
}
