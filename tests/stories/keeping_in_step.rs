//! Keeping a contact in step: what a sync does, from a webhook to a contact.

use sesamy_mailmojo::sandbox::{contact, contract, entitlement, user};

use crate::town::{LIST, Town};

#[tokio::test]
async fn a_purchase_makes_a_contact_with_names_phone_and_tags() {
    let town = Town::start().await;
    town.sandbox.sesamy.put_user(
        user("u1")
            .email("Kari@Example.com")
            .first_name("Kari")
            .last_name("Nordmann")
            .mobile_phone("+4799988777")
            .contract(contract("c1"))
            .entitlement(entitlement("e1", "plus")),
    );
    town.sync("u1").await;

    let kari = town.contact("kari@example.com");
    assert_eq!(kari.first_name.as_deref(), Some("Kari"));
    assert_eq!(kari.last_name.as_deref(), Some("Nordmann"));
    assert_eq!(kari.phone.as_deref(), Some("+4799988777"));
    assert_eq!(kari.list_status(LIST), Some("a"));
    assert_eq!(
        kari.tags,
        ["sesamy_active_entitlement_plus", "sesamy_active_sku_plus", "sesamy_active_subscriber"]
    );
    assert_eq!(town.service.output.syncs_of("u1")[0]["outcome"], "created");
}

#[tokio::test]
async fn the_newsrooms_own_edits_are_left_alone() {
    let town = Town::start().await;
    town.sandbox
        .sesamy
        .put_user(user("u1").email("kari@example.com").first_name("Kari").contract(contract("c1")));
    town.sandbox.mailmojo.put_contact(
        contact("kari@example.com").first_name("K.").tags(["vip", "sesamy_old", "abc"]).on_list(LIST),
    );
    town.sync("u1").await;

    let kari = town.contact("kari@example.com");
    assert_eq!(kari.first_name.as_deref(), Some("K."));
    assert_eq!(kari.tags, ["vip", "abc", "sesamy_active_subscriber"]);
}
