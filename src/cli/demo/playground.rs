//! `demo --keep`: commands to paste into another terminal, against the demo that is left running.

use std::io;
use std::path::Path;

use super::setup::{ADMIN_TOKEN, Stage, WEBHOOK_SECRET, WEBHOOK_TOKEN};
use crate::cli::output::line;
use crate::sandbox::Mailmojo;
use crate::upstream::encoded;

/// Prints curl lines that work as they stand.
pub(super) fn print(stage: &Stage) -> io::Result<()> {
    let service = stage.url();
    let (sesamy, mailmojo) = (stage.sandbox.sesamy.url(), stage.sandbox.mailmojo.url());
    let page = stage.page();
    let program = program(&stage.settings_file());
    let kari = encoded("kari.nordmann@example.com");
    let token = Mailmojo::FIXED_TOKEN;
    let event = r#"{"eventType":"userVendor.1#update","vendorId":"vendor_demo","userId":"email|kari"}"#;
    line(&format!(
        r#"
Everything stays as it is until Ctrl-C. The service: {service}

The operations page, and its token: {page} {ADMIN_TOKEN}

Replay an event with the bearer token:
  curl -i {service}/webhooks/sesamy -H 'Authorization: Bearer {WEBHOOK_TOKEN}' -d '{event}'

The same, signed with HMAC-SHA256:
  body='{event}'; curl -i {service}/webhooks/sesamy -H "X-Sesamy-Signature: sha256=$(printf %s "$body" | openssl dgst -sha256 -hmac {WEBHOOK_SECRET} -r | cut -d' ' -f1)" -d "$body"

Tag Kari in Sesamy (then replay the event, and read her contact):
  curl -X PUT {sesamy}/sandbox/users/email%7Ckari -d '{{"tags":["Early bird"]}}'

Kari's contact, as Mailmojo's API answers it:
  curl {mailmojo}/v1/contacts/{kari}/ -H 'Authorization: Bearer {token}'

What a sync of Kari would do and why, and a sync by hand:
  {program} preview 'email|kari'
  {program} sync 'email|kari'

Let Sesamy refuse Kari, replay the event, see her parked; then fix it and try her again:
  curl -X PUT {sesamy}/sandbox/faults/email%7Ckari -d '{{"status":422,"message":"no such plan"}}'
  {program} queue list --state parked
  curl -X DELETE {sesamy}/sandbox/faults
  {program} queue retry --all-parked --yes

Pause and resume syncs, and bring all users in step:
  {program} queue pause
  {program} queue resume
  {program} backfill --dry-run
  {program} backfill --yes

All contacts, and what the sandbox objects to:
  curl {mailmojo}/sandbox/contacts
  curl {mailmojo}/sandbox/findings

Health, readiness, metrics:
  curl -i {service}/healthz
  curl -i {service}/readyz
  curl {service}/metrics"#
    ))
}

/// How this program is called with the demo's settings.
fn program(settings: &Path) -> String {
    let own = std::env::current_exe().ok();
    let own = own.as_deref().map_or("sesamy-mailmojo".into(), |path| path.to_string_lossy());
    format!("{own} --config {}", settings.display())
}
