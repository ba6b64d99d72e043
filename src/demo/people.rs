//! Who signs in to the demo's panels, and whose gateways are whose.

use heliograph_admin_web::hash_password;
use heliograph_admin_web::users::{Rights, add_user};
use heliograph_domain::{
    Commission, CommissionId, Customer, CustomerId, EmailAddress, GatewayId, GatewayKey, Secret, TimeWindow, Timestamp, UserRole,
};
use heliograph_store::ProviderStore;
use uuid::Uuid;

use super::fleet::ProviderPlan;

/// How to sign in.
pub(super) struct Logins {
    pub(super) owner: EmailAddress,
    pub(super) owner_password: Secret,
    pub(super) customer: EmailAddress,
    pub(super) customer_password: Secret,
}

/// Makes an owner and a customer who has owned two gateways for the last 60 days,
/// or gives those of an earlier demo new passwords.
pub(super) async fn set_up(store: &ProviderStore, plan: &ProviderPlan, now: Timestamp) -> anyhow::Result<Logins> {
    let owner = EmailAddress::parse(&format!("owner@{}.example", plan.id))?;
    let first_name = plan.customer.split(' ').next().unwrap_or_default().to_lowercase();
    let customer_email = EmailAddress::parse(&format!("{first_name}@{}.example", plan.id))?;
    let customer = set_up_customer(store, plan, &customer_email, now).await?;
    Ok(Logins {
        owner_password: let_in(store, &owner, plan.name, Rights::of(UserRole::Owner), now).await?,
        customer_password: let_in(store, &customer_email, plan.customer, Rights::of_customer(customer), now).await?,
        owner,
        customer: customer_email,
    })
}

async fn set_up_customer(
    store: &ProviderStore,
    plan: &ProviderPlan,
    email: &EmailAddress,
    now: Timestamp,
) -> anyhow::Result<CustomerId> {
    if let Some(known) = store.customer_list().await?.into_iter().find(|customer| customer.email.as_ref() == Some(email)) {
        return Ok(known.id);
    }
    let customer = Customer { id: CustomerId::new(Uuid::now_v7()), name: plan.customer.to_owned(), email: Some(email.clone()) };
    store.customer_save(customer.clone()).await?;
    let from = now.plus_millis(-60 * 86_400_000);
    let gateways = plan.locations.first().map(|location| location.gateways).unwrap_or_default();
    for gateway in gateways.iter().take(2) {
        let id = CommissionId::new(Uuid::now_v7());
        let gateway = GatewayId::parse(gateway.id)?;
        store
            .commission_create(Commission { id, customer: customer.id, gateway, window: TimeWindow { from, until: None } })
            .await?;
    }
    Ok(customer.id)
}

/// Lets somebody in with a new password.
async fn let_in(
    store: &ProviderStore,
    email: &EmailAddress,
    name: &str,
    rights: Rights,
    now: Timestamp,
) -> anyhow::Result<Secret> {
    let spelled = GatewayKey::from_random(&rand::random());
    let password = Secret::new(spelled.reveal().split('-').take(2).collect::<Vec<_>>().join("-"));
    match store.user_find(email).await? {
        Some(user) => store.user_set_password(user.id, hash_password(password.clone()).await?).await?,
        None => drop(add_user(store, email.clone(), name.to_owned(), rights, Some(password.clone()), now).await?),
    }
    Ok(password)
}
