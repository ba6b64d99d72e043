//! Tokens by which programs use the API for somebody.

use heliograph_domain::{
    Actor, ApiScope, ApiTokenId, Customer, CustomerId, EmailAddress, KeyDigest, ProviderSettings, UserId, UserRole,
};
use heliograph_store::{ApiToken, ProviderStore, SecondFactor, SessionRow, StoreError, UserRecord};
use uuid::Uuid;

use crate::backend::{minute, on_every_backend};

const YEAR: i64 = 365 * 1440;

fn user(number: u128) -> UserRecord {
    UserRecord {
        id: UserId::new(Uuid::from_u128(number)),
        email: EmailAddress::parse(&format!("u{number}@example.org")).unwrap(),
        name: format!("User {number}"),
        role: UserRole::Owner,
        customer: None,
        assignment: None,
        password_hash: None,
        created: minute(0),
    }
}

fn digest(number: u8) -> KeyDigest {
    KeyDigest([number; 32])
}

/// A token of somebody's that was made at that minute.
fn token(number: u8, of: u128) -> ApiToken {
    ApiToken::new(
        (ApiTokenId::new(Uuid::from_u128(number.into())), user(of).id),
        format!("Night job {number}"),
        vec![ApiScope::Read],
        digest(number),
        (minute(number.into()), minute(YEAR)),
    )
}

async fn ids(store: &ProviderStore) -> Vec<u128> {
    store.api_token_list().await.unwrap().iter().map(|token| token.id.as_uuid().as_u128()).collect()
}

#[tokio::test]
async fn a_token_is_found_by_its_digest_and_says_when_it_was_used() {
    on_every_backend(|store| async move {
        assert!(matches!(store.api_token_create(token(1, 1), None).await, Err(StoreError::NotFound("user"))));
        store.user_create(user(1)).await.unwrap();
        store.api_token_create(token(1, 1), None).await.unwrap();
        store.api_token_create(token(2, 1), None).await.unwrap();
        assert_eq!(store.api_token_find(digest(1)).await.unwrap(), Some(token(1, 1)));
        assert_eq!(store.api_token_find(digest(9)).await.unwrap(), None);
        assert_eq!(ids(&store).await, [2, 1], "the newest first");
        for (at, used) in [(100, 100), (50, 100), (160, 160)] {
            store.api_token_used(digest(1), minute(at)).await.unwrap();
            let found = store.api_token_find(digest(1)).await.unwrap().unwrap();
            let mut expected = token(1, 1);
            expected.used = Some(minute(used));
            assert_eq!(found, expected);
        }
        store.api_token_used(digest(9), minute(1)).await.unwrap();
        store.api_token_remove(token(1, 1).id).await.unwrap();
        assert!(matches!(store.api_token_remove(token(1, 1).id).await, Err(StoreError::NotFound("API token"))));
        store.api_token_used(digest(1), minute(200)).await.unwrap();
        assert_eq!(store.api_token_find(digest(1)).await.unwrap(), None, "a use brings nothing back");
        let trail = store.audit_list(0, 100).await.unwrap();
        let actions: Vec<&str> = trail.iter().map(|row| row.action.as_str()).collect();
        assert_eq!(actions, ["user.create", "api-token.create", "api-token.create", "api-token.remove"]);
        assert!(trail.iter().all(|row| !row.detail.contains("Night job")), "a name may be a person's");
    })
    .await;
}

#[tokio::test]
async fn the_trail_says_by_which_token_somebody_changed_something() {
    on_every_backend(|store| async move {
        let by = store.acting_as(Actor::User(user(1).id));
        by.by_token(token(3, 1).id).user_create(user(1)).await.unwrap();
        by.user_create(user(2)).await.unwrap();
        let trail = store.audit_list(0, 9).await.unwrap();
        assert_eq!(trail[0].actor, format!("user:{}", user(1).id));
        let ids: Vec<bool> = trail.iter().map(|row| row.detail.contains(&token(3, 1).id.to_string())).collect();
        assert_eq!((ids, store.audit_verify(None).await.unwrap().fault), (vec![true, false], None));
    })
    .await;
}

#[tokio::test]
async fn a_token_ends_within_a_year_and_nobody_has_many() {
    on_every_backend(|store| async move {
        store.user_create(user(1)).await.unwrap();
        store.user_create(user(2)).await.unwrap();
        for expires in [minute(1), minute(0), minute(2 * YEAR)] {
            let mut odd = token(1, 1);
            odd.expires = expires;
            let refused = store.api_token_create(odd, None).await;
            assert!(matches!(refused, Err(StoreError::Conflict(_))), "{expires}");
        }
        for number in 1..=ApiToken::MOST {
            store.api_token_create(token(u8::try_from(number).unwrap(), 1), None).await.unwrap();
        }
        let more = store.api_token_create(token(99, 1), None).await;
        assert!(matches!(&more, Err(StoreError::Conflict(problem)) if problem.contains("20 tokens")), "{more:?}");
        store.api_token_create(token(99, 2), None).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn tokens_end_with_the_password_and_with_the_person() {
    on_every_backend(|store| async move {
        let customer = Customer { id: CustomerId::new(Uuid::from_u128(7)), name: "Ana".into(), email: None };
        store.customer_save(customer.clone()).await.unwrap();
        let of_customer = |number| UserRecord { role: UserRole::Customer, customer: Some(customer.id), ..user(number) };
        for person in [user(1), user(2), of_customer(3), of_customer(4)] {
            store.user_create(person).await.unwrap();
        }
        for (number, of) in [(1, 1), (2, 2), (3, 3), (4, 4), (5, 1)] {
            store.api_token_create(token(number, of), None).await.unwrap();
        }
        store.user_set_password(user(1).id, "$argon2id$".into()).await.unwrap();
        assert_eq!(ids(&store).await, [4, 3, 2]);
        store.customer_erase(customer.id, minute(10)).await.unwrap();
        assert_eq!(ids(&store).await, [2]);
        store.user_delete(user(2).id).await.unwrap();
        store.user_create(user(2)).await.unwrap();
        assert_eq!(store.api_token_find(digest(2)).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn no_token_is_born_of_a_password_that_was_changed_meanwhile() {
    on_every_backend(|store| async move {
        store.user_create(user(1)).await.unwrap();
        let (first, second) = (Some("$argon2id$1".to_owned()), Some("$argon2id$2".to_owned()));
        store.user_set_password(user(1).id, first.clone().unwrap()).await.unwrap();
        store.api_token_create(token(1, 1), first.clone()).await.unwrap();
        store.user_set_password(user(1).id, second.clone().unwrap()).await.unwrap();
        for seen in [None, first] {
            let late = store.api_token_create(token(2, 1), seen).await;
            assert!(matches!(late, Err(StoreError::Conflict(_))), "{late:?}");
        }
        assert_eq!(ids(&store).await, Vec::<u128>::new());
        store.api_token_create(token(2, 1), second).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn tokens_end_with_the_second_step_and_with_signing_out_everywhere() {
    on_every_backend(|store| async move {
        let session = SessionRow { digest: digest(77), user: Some(user(1).id), data: vec![1], expires: minute(60) };
        let factor = SecondFactor::new(user(1).id, "JBSWY3DPEHPK3PXP".into(), minute(1), 7, &[]);
        for person in [user(1), user(2)] {
            store.user_create(person).await.unwrap();
        }
        store.api_token_create(token(2, 2), None).await.unwrap();
        store.api_token_create(token(1, 1), None).await.unwrap();
        store.second_factor_save(factor).await.unwrap();
        assert_eq!(ids(&store).await, [2], "set");
        store.api_token_create(token(3, 1), None).await.unwrap();
        store.second_factor_remove(user(1).id).await.unwrap();
        assert_eq!(ids(&store).await, [2], "taken away");
        store.api_token_create(token(4, 1), None).await.unwrap();
        store.session_save(session.clone()).await.unwrap();
        store.user_sign_out(user(1).id).await.unwrap();
        assert_eq!(ids(&store).await, [2], "signed out");
        assert_eq!(store.session_load(session.digest, minute(2)).await.unwrap(), None);
        let entries = async || store.audit_list(0, 100).await.unwrap();
        assert_eq!(entries().await.last().unwrap().action, "user.sign-out");
        let count = entries().await.len();
        store.session_save(session.clone()).await.unwrap();
        store.user_sign_out(user(1).id).await.unwrap();
        assert_eq!(store.session_load(session.digest, minute(2)).await.unwrap(), None);
        assert_eq!(entries().await.len(), count, "without tokens it leaves no entry");
    })
    .await;
}

#[tokio::test]
async fn settings_that_somebody_else_has_changed_are_not_overwritten() {
    on_every_backend(|store| async move {
        let named = |name: &str| ProviderSettings { name: name.into(), ..ProviderSettings::default() };
        let seen = store.settings_fetch().await.unwrap();
        store.settings_replace(seen.clone(), named("First")).await.unwrap();
        let late = store.settings_replace(seen, named("Second")).await;
        assert!(matches!(late, Err(StoreError::Conflict(_))), "{late:?}");
        assert_eq!(store.settings_fetch().await.unwrap().name, "First");
        store.settings_replace(named("First"), named("Third")).await.unwrap();
        assert_eq!(store.settings_fetch().await.unwrap().name, "Third");
        assert_eq!(store.audit_list(0, 9).await.unwrap().len(), 2, "what is refused leaves no entry");
    })
    .await;
}
