//! Users, links, sessions, settings and leases.

use heliograph_domain::{
    Assignment, Colour, Customer, CustomerId, EmailAddress, KeyDigest, Location, LocationId, OutboxId, ProviderSettings,
    UserRole, Zone,
};
use heliograph_store::{
    Letter, LetterKind, OutboxKey, OutboxNew, OutboxState, SecondFactor, SecondProof, SessionRow, StoreError, UserRecord,
    UserUpdate,
};
use uuid::Uuid;

use crate::backend::{minute, on_every_backend, user};

#[tokio::test]
async fn an_address_signs_in_one_person() {
    on_every_backend(|store| async move {
        store.user_create(user(1)).await.unwrap();
        let twin = UserRecord { id: user(2).id, ..user(1) };
        assert!(matches!(store.user_create(twin).await, Err(StoreError::Conflict(_))));
        let lost = UserRecord { role: UserRole::Customer, customer: Some(CustomerId::new(Uuid::from_u128(9))), ..user(3) };
        assert!(matches!(store.user_create(lost).await, Err(StoreError::NotFound("customer"))));
        let odd = UserRecord { role: UserRole::Customer, ..user(4) };
        assert!(matches!(store.user_create(odd).await, Err(StoreError::Conflict(_))));
        assert_eq!(store.user_list().await.unwrap(), [user(1)]);
        assert_eq!(store.user_find(&user(1).email).await.unwrap(), Some(user(1)));
        assert_eq!(store.user_find(&user(2).email).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn a_link_works_once_and_not_for_ever() {
    on_every_backend(|store| async move {
        store.user_create(user(1)).await.unwrap();
        let (link, late) = (KeyDigest([1; 32]), KeyDigest([2; 32]));
        store.login_link_create(link, user(1).id, minute(60)).await.unwrap();
        store.login_link_create(late, user(1).id, minute(60)).await.unwrap();
        assert_eq!(store.login_link_peek(link, minute(1)).await.unwrap(), Some(user(1).id));
        assert_eq!(store.login_link_redeem(link, minute(1)).await.unwrap(), Some(user(1).id));
        assert_eq!(store.login_link_redeem(link, minute(1)).await.unwrap(), None);
        assert_eq!(store.login_link_redeem(late, minute(60)).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn mails_about_a_way_in_come_first_and_go_with_whose_it_is() {
    on_every_backend(|store| async move {
        let order = async |number: u128, at: i64| {
            let (user, id) = (user(number), OutboxId::new(Uuid::from_u128(number * 100 + at as u128)));
            let letter = Letter::to(&user, LetterKind::Invitation, None);
            store.letter_order(id, &user, &letter, minute(at)).await.unwrap()
        };
        for number in [1, 2] {
            store.user_create(user(number)).await.unwrap();
            assert!(order(number, 0).await && !order(number, 0).await);
        }
        let summary = OutboxNew {
            id: OutboxId::new(Uuid::from_u128(7)),
            key: OutboxKey { report: "daily".to_owned(), period: "2026-06-15".to_owned(), recipient: user(3).email },
            subject: "A day".to_owned(),
            message_id: "<7@example.org>".to_owned(),
            message: b"Subject: A day".to_vec(),
            created: minute(-60),
            due: minute(-60),
        };
        assert!(store.outbox_put(summary).await.unwrap());
        for is_letter in [true, true, false] {
            let claimed = store.outbox_claim(minute(0), minute(5)).await.unwrap().unwrap();
            assert_eq!(Letter::read(&claimed).unwrap().is_some(), is_letter);
        }
        store.user_delete(user(1).id).await.unwrap();
        let mails = store.outbox_list(10).await.unwrap();
        let to = |email: EmailAddress| mails.iter().filter(move |mail| mail.key.recipient == email).count();
        assert_eq!((mails.len(), to(user(1).email), to(user(2).email)), (3, 0, 1));
        let gone = mails.iter().find(|mail| Letter::is_one(&mail.key) && mail.key.recipient != user(2).email).unwrap();
        assert_eq!(gone.state, OutboxState::GivenUp);
        let trail = store.audit_list(1, 100).await.unwrap();
        assert!(trail.iter().filter(|entry| entry.action == "user.invite").count() >= 2, "{trail:?}");
    })
    .await;
}

#[tokio::test]
async fn a_new_password_ends_sessions_and_links() {
    on_every_backend(|store| async move {
        store.user_create(user(1)).await.unwrap();
        let session = SessionRow { digest: KeyDigest([5; 32]), user: Some(user(1).id), data: vec![1], expires: minute(60) };
        store.session_save(session.clone()).await.unwrap();
        store.login_link_create(KeyDigest([6; 32]), user(1).id, minute(60)).await.unwrap();
        assert_eq!(store.session_load(session.digest, minute(0)).await.unwrap(), Some(session.clone()));
        assert_eq!(store.session_load(session.digest, minute(60)).await.unwrap(), None);
        store.user_set_password(user(1).id, "hash".into()).await.unwrap();
        assert_eq!(store.session_load(session.digest, minute(0)).await.unwrap(), None);
        assert_eq!(store.login_link_peek(KeyDigest([6; 32]), minute(0)).await.unwrap(), None);
        assert_eq!(store.user_fetch(user(1).id).await.unwrap().password_hash.as_deref(), Some("hash"));
    })
    .await;
}

#[tokio::test]
async fn sessions_end_with_their_person_and_their_time() {
    on_every_backend(|store| async move {
        // An owner remains.
        store.user_create(user(2)).await.unwrap();
        store.user_create(user(1)).await.unwrap();
        let session = |byte, expires| SessionRow {
            digest: KeyDigest([byte; 32]),
            user: Some(user(1).id),
            data: vec![],
            expires: minute(expires),
        };
        store.session_save(session(1, 10)).await.unwrap();
        store.session_save(session(2, 99)).await.unwrap();
        store.session_expire(minute(50)).await.unwrap();
        assert!(store.session_load(KeyDigest([2; 32]), minute(50)).await.unwrap().is_some());
        store.user_delete(user(1).id).await.unwrap();
        assert!(store.session_load(KeyDigest([2; 32]), minute(50)).await.unwrap().is_none());
        assert!(matches!(store.user_delete(user(1).id).await, Err(StoreError::NotFound(_))));
    })
    .await;
}

#[tokio::test]
async fn settings_are_seeded_once_and_then_the_panel_decides() {
    on_every_backend(|store| async move {
        assert_eq!(store.settings_fetch().await.unwrap(), ProviderSettings::default());
        let first = ProviderSettings { name: "Sunrise".into(), ..ProviderSettings::default() };
        store.settings_seed(first.clone()).await.unwrap();
        store.settings_seed(ProviderSettings { name: "Other".into(), ..first.clone() }).await.unwrap();
        assert_eq!(store.settings_fetch().await.unwrap(), first);
        let saved = ProviderSettings { colour: Colour::parse("#123456").unwrap(), ..first };
        store.settings_save(saved.clone()).await.unwrap();
        assert_eq!(store.settings_fetch().await.unwrap(), saved);
    })
    .await;
}

#[tokio::test]
async fn a_lease_has_one_holder_until_it_ends() {
    on_every_backend(|store| async move {
        assert!(store.lease_take("rollup", "a", minute(0), minute(1)).await.unwrap());
        assert!(!store.lease_take("rollup", "b", minute(0), minute(1)).await.unwrap());
        assert!(store.lease_take("rollup", "a", minute(0), minute(2)).await.unwrap());
        assert!(store.lease_take("rollup", "b", minute(2), minute(3)).await.unwrap());
        store.lease_release("rollup", "a").await.unwrap();
        assert!(!store.lease_take("rollup", "a", minute(2), minute(3)).await.unwrap());
        store.lease_release("rollup", "b").await.unwrap();
        assert!(store.lease_take("rollup", "a", minute(2), minute(3)).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn a_lease_of_a_clock_that_is_far_ahead_holds_up_nobody() {
    on_every_backend(|store| async move {
        let year = 365 * 24 * 60;
        assert!(store.lease_take("rollup", "a", minute(year), minute(year + 1)).await.unwrap());
        assert!(store.lease_take("rollup", "b", minute(0), minute(5)).await.unwrap());
        assert!(!store.lease_take("rollup", "c", minute(0), minute(1)).await.unwrap(), "one that ends in time holds");
        // Whoever is ahead takes it again, and holds up nobody again.
        assert!(store.lease_take("rollup", "a", minute(year), minute(year + 1)).await.unwrap());
        assert!(store.lease_take("rollup", "c", minute(0), minute(1)).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn the_sessions_of_somebody_are_listed_until_they_end() {
    on_every_backend(|store| async move {
        store.user_create(user(1)).await.unwrap();
        store.user_create(user(2)).await.unwrap();
        let session = |number: u8, person: u128, end: i64| SessionRow {
            digest: KeyDigest([number; 32]),
            user: Some(user(person).id),
            data: vec![number],
            expires: minute(end),
        };
        for row in [session(1, 1, 60), session(2, 1, 90), session(3, 2, 90), session(4, 1, 5)] {
            store.session_save(row).await.unwrap();
        }
        store.login_link_create(KeyDigest([5; 32]), user(1).id, minute(60)).await.unwrap();
        store.session_save(SessionRow { user: None, ..session(6, 1, 60) }).await.unwrap();
        let listed = async || store.session_list(user(1).id, minute(10)).await.unwrap();
        assert_eq!(listed().await, [session(2, 1, 90), session(1, 1, 60)]);
        store.session_delete(KeyDigest([2; 32])).await.unwrap();
        assert_eq!(listed().await, [session(1, 1, 60)]);
        store.session_delete_by_user(user(1).id).await.unwrap();
        assert_eq!(listed().await, []);
        assert_eq!(store.session_list(user(2).id, minute(10)).await.unwrap(), [session(3, 2, 90)]);
    })
    .await;
}

#[tokio::test]
async fn what_is_proven_beside_the_password_works_once() {
    on_every_backend(|store| async move {
        let (lost, left) = (KeyDigest([1; 32]), KeyDigest([2; 32]));
        let factor = SecondFactor::new(user(1).id, "JBSWY3DPEHPK3PXP".into(), minute(1), 7, &[lost, left]);
        assert!(matches!(store.second_factor_save(factor.clone()).await, Err(StoreError::NotFound("user"))));
        // An owner remains.
        store.user_create(user(2)).await.unwrap();
        store.user_create(user(1)).await.unwrap();
        assert!(!store.second_factor_use(factor.clone(), SecondProof::Step(8)).await.unwrap(), "nothing is asked for");
        let session = SessionRow { digest: KeyDigest([5; 32]), user: Some(user(1).id), data: vec![1], expires: minute(60) };
        store.session_save(session.clone()).await.unwrap();
        store.second_factor_save(factor.clone()).await.unwrap();
        assert_eq!(store.session_load(session.digest, minute(2)).await.unwrap(), None, "who was signed in proves it too");
        assert_eq!(store.second_factor_fetch(user(1).id).await.unwrap(), Some(factor.clone()));
        for (proof, works) in [
            (SecondProof::Step(7), false),
            (SecondProof::Step(9), true),
            (SecondProof::Step(9), false),
            (SecondProof::Step(8), false),
            (SecondProof::Recovery(lost), true),
            (SecondProof::Recovery(lost), false),
            (SecondProof::Recovery(KeyDigest([3; 32])), false),
            (SecondProof::Step(10), true),
        ] {
            assert_eq!(store.second_factor_use(factor.clone(), proof).await.unwrap(), works, "{proof:?}");
        }
        let used = store.audit_list(0, 100).await.unwrap().pop().unwrap();
        assert_eq!(used.action, "user.second-factor.recovery");
        for number in 1..=SecondFactor::MOST_FAILURES {
            store.second_factor_failed(user(1).id).await.unwrap();
            let found = store.second_factor_fetch(user(1).id).await.unwrap().unwrap();
            assert_eq!((found.failures, found.believes_app()), (number, number < SecondFactor::MOST_FAILURES));
        }
        let tired = store.second_factor_fetch(user(1).id).await.unwrap().unwrap();
        assert!(!store.second_factor_use(tired.clone(), SecondProof::Step(11)).await.unwrap(), "the app is believed no more");
        assert!(store.second_factor_use(tired, SecondProof::Recovery(left)).await.unwrap());
        let found = store.second_factor_fetch(user(1).id).await.unwrap().unwrap();
        assert_eq!((found.last_step, found.recovery_left(), found.failures), (10, 0, 0));
        store.session_save(session.clone()).await.unwrap();
        store.second_factor_remove(user(1).id).await.unwrap();
        assert_eq!(store.session_load(session.digest, minute(2)).await.unwrap(), None, "what was lost may be signed in");
        assert_eq!(store.second_factor_fetch(user(1).id).await.unwrap(), None);
        assert!(matches!(store.second_factor_remove(user(1).id).await, Err(StoreError::NotFound(_))));
        // A code of what was there before proves nothing of what is there now.
        store.second_factor_save(SecondFactor::new(user(1).id, "B".into(), minute(1), 0, &[])).await.unwrap();
        assert!(!store.second_factor_use(factor, SecondProof::Step(20)).await.unwrap());
        // It goes with the person.
        store.second_factor_save(SecondFactor::new(user(1).id, "A".into(), minute(1), 0, &[])).await.unwrap();
        store.user_delete(user(1).id).await.unwrap();
        store.user_create(user(1)).await.unwrap();
        assert_eq!(store.second_factor_fetch(user(1).id).await.unwrap(), None);
    })
    .await;
}

#[tokio::test]
async fn of_many_that_use_a_code_at_once_one_does() {
    on_every_backend(|store| async move {
        store.user_create(user(1)).await.unwrap();
        let factor = SecondFactor::new(user(1).id, "A".into(), minute(1), 0, &[]);
        store.second_factor_save(factor.clone()).await.unwrap();
        let uses = (0..8).map(|_| store.second_factor_use(factor.clone(), SecondProof::Step(5)));
        let works = futures_util::future::join_all(uses).await;
        assert_eq!(works.into_iter().filter(|works| *works.as_ref().unwrap()).count(), 1);
    })
    .await;
}

#[tokio::test]
async fn what_somebody_may_do_changes_and_an_owner_remains() {
    on_every_backend(|store| async move {
        store.user_create(user(1)).await.unwrap();
        store.user_create(UserRecord { role: UserRole::Viewer, ..user(2) }).await.unwrap();
        let customer = Customer { id: CustomerId::new(Uuid::from_u128(7)), name: "Ana".into(), email: None };
        store.customer_save(customer.clone()).await.unwrap();
        let update =
            |role: UserRole, customer: Option<CustomerId>| UserUpdate { name: "Nia".into(), role, customer, assignment: None };
        let unfit = store.user_update(user(2).id, update(UserRole::Customer, None)).await;
        assert!(matches!(unfit, Err(StoreError::Conflict(_))), "{unfit:?}");
        let lost = store.user_update(user(2).id, update(UserRole::Customer, Some(CustomerId::new(Uuid::from_u128(9))))).await;
        assert!(matches!(lost, Err(StoreError::NotFound("customer"))), "{lost:?}");
        let nobody = store.user_update(user(3).id, update(UserRole::Viewer, None)).await;
        assert!(matches!(nobody, Err(StoreError::NotFound("user"))), "{nobody:?}");
        let last = store.user_update(user(1).id, update(UserRole::Viewer, None)).await;
        assert!(matches!(&last, Err(StoreError::Conflict(problem)) if problem == "no owner would remain"), "{last:?}");
        let last = store.user_delete(user(1).id).await;
        assert!(matches!(&last, Err(StoreError::Conflict(problem)) if problem == "no owner would remain"), "{last:?}");
        assert_eq!(store.user_fetch(user(2).id).await.unwrap().name, "User 2", "what is refused changes nothing");

        store.user_update(user(2).id, update(UserRole::Customer, Some(customer.id))).await.unwrap();
        let changed = UserRecord { name: "Nia".into(), role: UserRole::Customer, customer: Some(customer.id), ..user(2) };
        assert_eq!(store.user_fetch(user(2).id).await.unwrap(), changed);
        store.user_update(user(2).id, update(UserRole::Owner, None)).await.unwrap();
        store.user_update(user(1).id, update(UserRole::Viewer, None)).await.unwrap();
        let roles: Vec<UserRole> = store.user_list().await.unwrap().iter().map(|user| user.role).collect();
        assert_eq!(roles, [UserRole::Viewer, UserRole::Owner]);
        let last = store.audit_list(0, 100).await.unwrap().pop().unwrap();
        assert!(last.action == "user.update" && !last.detail.contains("Nia"), "{last:?}");
    })
    .await;
}

#[tokio::test]
async fn an_installer_has_an_assignment_at_locations_that_there_are() {
    on_every_backend(|store| async move {
        store.user_create(user(1)).await.unwrap();
        let place = |number| LocationId::new(Uuid::from_u128(number));
        for number in [8, 9] {
            store.location_save(location(place(number))).await.unwrap();
        }
        let assigned = |places: &[u128], until| {
            Some(Assignment::new(until, places.iter().copied().map(place).collect(), minute(0)).unwrap())
        };
        let ines = UserRecord { role: UserRole::Installer, assignment: assigned(&[8], minute(60)), ..user(2) };
        let none = store.user_create(UserRecord { assignment: None, ..ines.clone() }).await;
        assert!(matches!(none, Err(StoreError::Conflict(_))), "{none:?}");
        let unfit = store.user_create(UserRecord { role: UserRole::Viewer, ..ines.clone() }).await;
        assert!(matches!(unfit, Err(StoreError::Conflict(_))), "{unfit:?}");
        let lost = store.user_create(UserRecord { assignment: assigned(&[8, 7], minute(60)), ..ines.clone() }).await;
        assert!(matches!(lost, Err(StoreError::NotFound("location"))), "{lost:?}");
        assert_eq!(store.user_list().await.unwrap(), [user(1)], "what is refused changes nothing");

        store.user_create(ines.clone()).await.unwrap();
        assert_eq!(store.user_list().await.unwrap(), [user(1), ines.clone()]);
        assert_eq!(store.user_find(&ines.email).await.unwrap(), Some(ines.clone()));
        let trail = store.audit_list(0, 100).await.unwrap().pop().unwrap();
        assert!(trail.detail.contains("installer") && trail.detail.contains(&place(8).to_string()), "{trail:?}");
        assert!(ines.may_enter(minute(59)) && !ines.may_enter(minute(60)));

        let update = |role, assignment| UserUpdate { name: "Ines".into(), role, customer: None, assignment };
        let longer = assigned(&[8, 9], minute(120));
        store.user_update(ines.id, update(UserRole::Installer, longer.clone())).await.unwrap();
        let known = store.user_fetch(ines.id).await.unwrap();
        assert_eq!(known, UserRecord { name: "Ines".into(), assignment: longer.clone(), ..ines.clone() });
        store.user_set_password(ines.id, "hash".into()).await.unwrap();
        assert_eq!(store.user_fetch(ines.id).await.unwrap().assignment, longer);
        store.user_update(ines.id, update(UserRole::Viewer, None)).await.unwrap();
        let known = store.user_fetch(ines.id).await.unwrap();
        assert_eq!((known.role, known.assignment), (UserRole::Viewer, None));
        store.user_update(ines.id, update(UserRole::Installer, longer)).await.unwrap();
        store.user_delete(ines.id).await.unwrap();
        assert_eq!(store.user_list().await.unwrap(), [user(1)]);
        store.user_create(UserRecord { role: UserRole::Viewer, assignment: None, ..ines.clone() }).await.unwrap();
        assert_eq!(store.user_fetch(ines.id).await.unwrap().role, UserRole::Viewer, "nothing of the assignment is left");
    })
    .await;
}

fn location(id: LocationId) -> Location {
    Location { id, name: "Haro".into(), zone: Zone::utc(), position: None, installed_kwp: None }
}
