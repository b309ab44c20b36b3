//! Whether answers that are all there already will be taken, before the first of them is: a file is used whole or not at all, as far as
//! that can be known without doing it.

use crate::base::{Mono, Random};
use crate::directory::fits_password;

use super::door::Who;
use super::file::Given;
use super::machine::{HOME, Next, Wizard, capital};
use super::saved::{Domain, Saved};
use super::{Answer, Existing, Job, Outcome, Refusal, Secret};

impl Wizard {
    /// Gives the answers to a copy, to whose questions the world says what is to be hoped for. Errors: the first that would be
    /// refused, in words with its line.
    pub(super) fn rehearse(&self, given: &[Given], random: &dyn Random) -> Result<(), String> {
        let mut copy = self.clone();
        given.iter().try_for_each(|one| {
            let done = match one.is_said(self.saved()) {
                true => self.fits_still(&one.answer),
                false => copy.rehearse_one(&one.answer, random),
            };
            done.map_err(|refusal| one.wrong(&refusal))
        })
    }

    /// Of what was said before only the administrator's pass phrase may be another one now.
    fn fits_still(&self, answer: &Answer) -> Result<(), Refusal> {
        let (Answer::You { phrase, .. }, Some(admin)) = (answer, &self.saved().admin) else { return Ok(()) };
        fits_password(&admin.address, &phrase.0).map_err(|error| Refusal::field("phrase", capital(&error.to_string())))
    }

    fn rehearse_one(&mut self, answer: &Answer, random: &dyn Random) -> Result<(), Refusal> {
        // As in the real play: one look-up, and the answer itself.
        for _ in 0..3 {
            let Next::Ask(job) = self.answer(Who::Console, answer, random)? else { return Ok(()) };
            let outcome = self.hoped_for(&job);
            if !self.told(&job, outcome, random, Mono(0))?.again {
                break;
            }
        }
        Ok(())
    }

    fn hoped_for(&self, job: &Job) -> Outcome {
        let admin = self.saved().admin.as_ref().map_or("", |admin| admin.address.as_str());
        let (local, domain) = admin.rsplit_once('@').unwrap_or((admin, HOME));
        let weak = |address: &str, phrase: &Secret| {
            let error = fits_password(address, &phrase.0).err()?;
            Some(Outcome::Field { field: "phrase", words: capital(&error.to_string()) })
        };
        match job {
            Job::Found { local, phrase, .. } => {
                let address = format!("{local}@{HOME}");
                weak(&address, phrase).unwrap_or(Outcome::Founded { address })
            }
            Job::LookUp { .. } => Outcome::Existing(Existing::default()),
            Job::Name { domain, .. } => Outcome::Named { address: format!("{local}@{domain}") },
            Job::House => Outcome::Named { address: admin.to_owned() },
            Job::Person { local, phrase, .. } => {
                let address = format!("{local}@{domain}");
                weak(&address, phrase).unwrap_or(Outcome::Added { address, phrase: Secret::default() })
            }
            Job::Relay { .. } => Outcome::Relayed,
            Job::Seal { .. } => Outcome::Sealed,
            _ => Outcome::Asked,
        }
    }
}

impl Given {
    /// Whether the set-up has this answer already: the same file again, after a cut or a mistake that was put right.
    pub(super) fn is_said(&self, saved: &Saved) -> bool {
        match &self.answer {
            Answer::You { local, .. } => saved.admin.as_ref().is_some_and(|admin| {
                admin.address.rsplit_once('@').is_some_and(|(there, _)| there.eq_ignore_ascii_case(local.trim()))
            }),
            Answer::Domain { name, host, .. } => {
                saved.domain == Some(Domain::Own { name: name.clone(), host: host.clone() })
            }
            Answer::HouseOnly => saved.domain == Some(Domain::HouseOnly),
            Answer::Person { local, .. } => saved.people.iter().any(|person| {
                person.address.rsplit_once('@').is_some_and(|(there, _)| there.eq_ignore_ascii_case(local.trim()))
            }),
            _ => false,
        }
    }
}
