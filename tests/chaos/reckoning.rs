//! The reckoning: every contact held against what it must be, and the story of the first that is not.

use sesamy_mailmojo::sandbox::Sandbox;

use crate::ledger::{Excuses, Rules};
use crate::member::{Apis, Member};
use crate::town::Output;
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
        let known = |email: &str| self.members.iter().any(|member| member.has(email));
        let strangers = self.apis.mailmojo.contacts().into_iter().map(|contact| contact.email);
        let strangers: Vec<String> = strangers.filter(|email| !known(email)).collect();
        if !strangers.is_empty() {
            return Err(format!("{when}, there are contacts that nobody asked for: {strangers:?}"));
        }
        let Some(beyond) = excuses.beyond(self.apis.mailmojo.tallies().races) else { return Ok(()) };
        let stories: String = losers.into_iter().map(|loser| self.story_of(loser)).collect();
        Err(format!("{when}, {beyond}\n{stories}"))
    }

    fn judges_writes(&self) -> Result<(), String> {
        let findings: Vec<String> = self.sandbox.findings().iter().map(ToString::to_string).collect();
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
        let section = |name: &str, lines: Vec<String>| {
            let skipped = lines.len().saturating_sub(TOLD);
            format!(
                "\n{name} of {id} (the last {}):\n  {}\n",
                lines.len() - skipped,
                lines[skipped..].join("\n  ")
            )
        };
        let contacts =
            member.names().into_iter().map(|name| format!("{name}: {:?}", self.apis.mailmojo.contact(&name)));
        [
            section("the history", member.story.clone()),
            section("the calls", self.watch.calls_about(&member.names())),
            section("the syncs", self.watch.log_of(self.output, id)),
            section(
                "what Sesamy says",
                vec![
                    format!("{:?}", member.person),
                    format!("{:?}", member.person.wanted(self.rules.derives)),
                ],
            ),
            section("what Mailmojo has", contacts.collect()),
        ]
        .concat()
    }
}
