//! The reckoning: every contact held against what it must be, and the story of the first that is not.

use sesamy_mailmojo::sandbox::Sandbox;

use crate::consent::Evidence;
use crate::household::Household;
use crate::ledger::{Excuses, Rules};
use crate::member::{Apis, Member};
use crate::support::harness::Output;
use crate::watch::Watch;

/// How much of a user's history is told.
const TOLD: usize = 60;

/// Everything that a judgement needs.
pub struct Reckoning<'a> {
    pub sandbox: &'a Sandbox,
    pub apis: &'a Apis,
    pub watch: &'a Watch,
    pub output: &'a Output,
    pub members: Vec<&'a Member>,
    pub households: Vec<&'a Household>,
    pub rules: Rules,
}

impl Reckoning<'_> {
    /// Judges what every write did, and how the contacts are now, of those users that `counts`.
    ///
    /// # Errors
    /// What is wrong, with the story of the first user concerned.
    pub fn judges(&self, when: &str, counts: impl Fn(&str) -> bool) -> Result<(), String> {
        self.judges_writes()?;
        let mut excuses = Excuses::default();
        let (mut wrong, mut losers) = (Vec::new(), Vec::new());
        for member in self.members.iter().filter(|member| member.is_told && counts(&member.person.id)) {
            let mut lost = Excuses::default();
            let own = member.judge(self.apis, self.rules, &mut lost);
            wrong.extend((!own.is_empty()).then_some((member, own)));
            losers.extend(lost.any().then_some(member));
            excuses.add(lost);
        }
        if let Some((first, why)) = wrong.first() {
            let (count, why) = (wrong.len(), why.join("\n  "));
            return Err(format!(
                "{when}, {count} users are out of step; the first:\n  {why}\n{}",
                self.story_of(first)
            ));
        }
        self.judges_consent(when)?;
        let is_of_household =
            |email: &str| self.households.iter().any(|it| it.addresses.iter().any(|own| own == email));
        let known =
            |email: &str| is_of_household(email) || self.members.iter().any(|member| member.has(email));
        let strangers = self.apis.mailmojo.contacts().into_iter().map(|contact| contact.email);
        let strangers: Vec<String> = strangers.filter(|email| !known(email)).collect();
        if !strangers.is_empty() {
            return Err(format!("{when}, there are contacts that nobody asked for: {strangers:?}"));
        }
        let Some(beyond) = excuses.beyond(self.apis.mailmojo.tallies().races) else { return Ok(()) };
        let stories: String = losers.into_iter().map(|loser| self.story_of(loser)).collect();
        Err(format!("{when}, {beyond}\n{stories}"))
    }

    fn judges_consent(&self, when: &str) -> Result<(), String> {
        self.objects(when, |evidence| evidence.judges_writes())
    }

    /// Judges how the contacts of households are, once all users have been synced since the last change.
    ///
    /// # Errors
    /// What is wrong, with the story of the first household concerned.
    pub fn judges_households(&self, when: &str) -> Result<(), String> {
        self.objects(when, |evidence| evidence.judges_contacts(|email| self.apis.mailmojo.contact(email)))
    }

    fn objects(&self, when: &str, judged: impl Fn(&Evidence<'_>) -> Vec<String>) -> Result<(), String> {
        let lives = self.watch.lives(self.output);
        let evidence = |household| Evidence::new(household, self.rules, &self.watch.of_households, &lives);
        let wrong: Vec<Vec<String>> =
            self.households.iter().map(|household| judged(&evidence(household))).collect();
        let Some(first) = wrong.iter().position(|why| !why.is_empty()) else { return Ok(()) };
        let count: usize = wrong.iter().map(Vec::len).sum();
        let (household, why) = (self.households[first], wrong[first].join("\n  "));
        let names = household.names();
        let story = self.story(&names[0], &names, &household.story);
        Err(format!(
            "{when}, {count} things are wrong with households; the first household:\n  {why}\n{story}"
        ))
    }

    fn judges_writes(&self) -> Result<(), String> {
        let findings = self.sandbox.findings().into_iter().filter(|finding| !Household::excuses(finding));
        let findings: Vec<String> = findings.map(|finding| finding.to_string()).collect();
        let Some(first) = findings.first() else { return Ok(()) };
        let told = findings.iter().take(20).cloned().collect::<Vec<_>>().join("\n  ");
        let is_about = |member: &&&Member| {
            let words = first.to_lowercase();
            member.names().iter().any(|name| words.contains(&format!(" {} ", name.to_lowercase())))
        };
        let story = self.members.iter().find(is_about).map(|member| self.story_of(member));
        Err(format!(
            "the sandbox objects to {} things:\n  {told}\n{}",
            findings.len(),
            story.unwrap_or_default()
        ))
    }

    /// The story of the first of `users` that is known.
    pub fn story_of_any(&self, users: &[String]) -> String {
        let first = self.members.iter().find(|member| users.contains(&member.person.id));
        first.map(|member| self.story_of(member)).unwrap_or_default()
    }

    fn story_of(&self, member: &Member) -> String {
        let id = &member.person.id;
        let wanted = member.person.wanted(self.rules.derives);
        let sesamy =
            section("what Sesamy says", id, &[format!("{:?}", member.person), format!("{wanted:?}")]);
        self.story(id, &member.names(), &member.story) + &sesamy
    }

    /// What happened to a user, or to all of a household: `names` are ids and addresses.
    fn story(&self, of: &str, names: &[String], history: &[String]) -> String {
        let contact = |name: &String| format!("{name}: {:?}", self.apis.mailmojo.contact(name));
        [
            section("the history", of, history),
            section("the calls", of, &self.watch.calls_about(names)),
            section("the syncs", of, &self.watch.log_of(self.output, names)),
            section("what Mailmojo has", of, &names.iter().map(contact).collect::<Vec<_>>()),
        ]
        .concat()
    }
}

/// A part of a story: its last lines.
fn section(name: &str, of: &str, lines: &[String]) -> String {
    let skipped = lines.len().saturating_sub(TOLD);
    format!("\n{name} of {of} (the last {}):\n  {}\n", lines.len() - skipped, lines[skipped..].join("\n  "))
}
