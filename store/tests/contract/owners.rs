//! Customers and commissions.

use heliograph_domain::{Commission, CommissionId, Customer, CustomerId, EmailAddress, TimeWindow};
use heliograph_store::StoreError;
use uuid::Uuid;

use crate::backend::{gateway, minute, on_every_backend, power};

fn customer(number: u128) -> Customer {
    Customer {
        id: CustomerId::new(Uuid::from_u128(number)),
        name: format!("Customer {number}"),
        email: Some(EmailAddress::parse(&format!("c{number}@example.org")).unwrap()),
    }
}

fn commission(number: u128, owner: &Customer, window: TimeWindow) -> Commission {
    Commission { id: CommissionId::new(Uuid::from_u128(number)), customer: owner.id, gateway: gateway("gw-1"), window }
}

#[tokio::test]
async fn a_gateway_has_one_owner_at_a_time() {
    on_every_backend(|store| async move {
        store.document_write(power("gw-1", &[(0, 1.0)])).await.unwrap();
        let (first, second) = (customer(1), customer(2));
        store.customer_save(first.clone()).await.unwrap();
        store.customer_save(second.clone()).await.unwrap();
        let open = TimeWindow { from: minute(0), until: None };
        store.commission_create(commission(1, &first, open)).await.unwrap();
        let overlap = store.commission_create(commission(2, &second, TimeWindow { from: minute(60), until: None })).await;
        assert!(matches!(overlap, Err(StoreError::Conflict(_))));

        store.commission_end(commission(1, &first, open).id, minute(60)).await.unwrap();
        store.commission_create(commission(2, &second, TimeWindow { from: minute(60), until: None })).await.unwrap();
        let all = store.commission_list_by_gateway(&gateway("gw-1")).await.unwrap();
        assert_eq!(
            all.iter().map(|c| (c.customer, c.window.until)).collect::<Vec<_>>(),
            [(first.id, Some(minute(60))), (second.id, None)]
        );
        assert_eq!(store.commission_list_by_customer(second.id).await.unwrap().len(), 1);
        let again = store.commission_end(commission(1, &first, open).id, minute(61)).await;
        assert!(matches!(again, Err(StoreError::NotFound(_))));
    })
    .await;
}

#[tokio::test]
async fn a_commission_needs_a_customer_a_gateway_and_some_time() {
    on_every_backend(|store| async move {
        let owner = customer(1);
        let window = TimeWindow { from: minute(0), until: None };
        let nobody = store.commission_create(commission(1, &owner, window)).await;
        assert!(matches!(nobody, Err(StoreError::NotFound("customer"))));
        store.customer_save(owner.clone()).await.unwrap();
        let nothing = store.commission_create(commission(1, &owner, window)).await;
        assert!(matches!(nothing, Err(StoreError::NotFound("gateway"))));
        store.document_write(power("gw-1", &[(0, 1.0)])).await.unwrap();
        let never = store.commission_create(commission(1, &owner, TimeWindow::between(minute(5), minute(5)))).await;
        assert!(matches!(never, Err(StoreError::Conflict(_))));
        assert!(store.commission_list().await.unwrap().is_empty());
    })
    .await;
}
