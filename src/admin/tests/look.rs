use super::desk::*;
use std::sync::Arc;
#[tokio::test]
async fn look() {
    let Ok(port) = std::env::var("ADMIN_LOOK") else { return };
    let listener = crate::server::listen(format!("127.0.0.1:{port}").parse().unwrap()).unwrap();
    let env = [
        ("WEBHOOK__BEARER_TOKENS", "a-webhook-token-long-enough"),
        ("SESAMY__CLIENT_ID", "x"),
        ("SESAMY__CLIENT_SECRET", "y"),
        ("MAILMOJO__API_TOKEN", "z"),
        ("MAILMOJO__LIST_ID", "7"),
        ("ADMIN__TOKENS", "the-admin-token-1"),
    ];
    let s = crate::config::Settings::load(None, env.into_iter().map(|(a, b)| (a.to_owned(), b.to_owned())))
        .unwrap()
        .settings;
    let office = crate::admin::Office::new(
        Arc::new(Drawer::default()),
        &s.admin.tokens,
        false,
        crate::clock::Clock::manual(NOW),
        s.in_force,
    );
    crate::server::serve(
        listener,
        crate::admin::router(office, axum::Router::new()),
        Default::default(),
        Default::default(),
    )
    .await;
}
