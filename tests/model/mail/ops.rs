//! What clients do with a mailbox, and what the naive mailbox answers.

use super::naive::{Copy, Got, Letter, Naive, Policy, ReceiveArgs, State};
use crate::prng::Prng;
use crate::requests::Asked;

pub const AGENTS: [&str; 4] = ["ada", "bob", "eve-with-a-rather-long-name", "tom"];

/// An operation.
#[derive(Debug, Clone)]
pub enum Op {
    Send { from: String, to: To, payload: String, reply_to: Option<u64>, ttl: Option<u64>, request: Option<String> },
    Recv { args: ReceiveArgs, block: Option<u64> },
    Ack { agent: String, ids: Vec<u64> },
    Nack { agent: String, id: u64, delay: Option<u64>, is_dead: bool },
    Extend { agent: String, id: u64, lease: u64 },
    Requeue { agent: String, id: u64 },
    Join(String),
    Leave(String),
    Delete,
}

#[derive(Debug, Clone)]
pub enum To {
    Agents(Vec<String>),
    All,
    Sender(u64),
}

/// Its result.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The id of the message that was sent: the naive mailbox learns it from the answer.
    Sent,
    /// The id of a message that was sent before.
    Known(u64),
    Number(u64),
    Got(Vec<(u64, u64, u64)>),
    Waits,
    Error(&'static str),
}

impl Op {
    /// A random operation of a client, mostly one that makes sense.
    pub fn random(rng: &mut Prng, naive: &Naive, old: &[u64]) -> Op {
        let agent = rng.pick(&AGENTS).to_string();
        let any = |rng: &mut Prng| {
            if old.is_empty() || rng.percent(5) {
                6
            } else {
                old[old.len() - 1 - rng.below(old.len().min(12) as u64) as usize]
            }
        };
        let held: Vec<u64> =
            naive.inbox(&agent).iter().filter(|copy| copy.state != State::Ready).map(|copy| copy.id).collect();
        let own = |rng: &mut Prng| if held.is_empty() || rng.percent(20) { any(rng) } else { *rng.pick(&held) };
        match rng.below(100) {
            0..=34 => Op::send(rng, any),
            35..=59 => {
                let answer_to = rng.percent(20).then(|| any(rng));
                let args = ReceiveArgs { agent, count: 1 + rng.below(4) as usize, answer_to, lease: 1 + rng.below(50) };
                Op::Recv { args, block: rng.percent(40).then(|| rng.below(60)) }
            }
            60..=75 => {
                let ids = (0..1 + rng.below(3)).map(|_| own(rng)).collect();
                Op::Ack { agent, ids }
            }
            76..=83 => {
                let id = own(rng);
                let delay = rng.percent(40).then(|| 1 + rng.below(40));
                Op::Nack { agent, id, delay, is_dead: delay.is_none() && rng.percent(30) }
            }
            84..=88 => Op::Extend { agent, id: own(rng), lease: 1 + rng.below(80) },
            89..=93 => match naive.dead().first() {
                Some(dead) if rng.percent(80) => Op::Requeue { agent: dead.agent.clone(), id: dead.id },
                _ => Op::Requeue { agent, id: any(rng) },
            },
            94..=96 => Op::Join(agent),
            97..=98 => Op::Leave(agent),
            _ if rng.percent(30) => Op::Delete,
            _ => Op::Join(agent),
        }
    }

    fn send(rng: &mut Prng, any: impl Fn(&mut Prng) -> u64) -> Op {
        let to = match rng.below(10) {
            0..=6 => To::Agents((0..1 + rng.below(3)).map(|_| rng.pick(&AGENTS).to_string()).collect()),
            7 => To::All,
            _ => To::Sender(any(rng)),
        };
        let reply_to = (!matches!(to, To::Sender(_)) && rng.percent(20)).then(|| any(rng));
        // Some payloads travel beside the payload of a change.
        let payload = "x".repeat(if rng.percent(10) { 600 } else { rng.below(20) as usize });
        let request = rng.percent(15).then(|| format!("q{}", rng.below(6)));
        let ttl = rng.percent(30).then(|| 1 + rng.below(100));
        Op::Send { from: rng.pick(&AGENTS).to_string(), to, payload, reply_to, ttl, request }
    }

    /// The command's words.
    pub fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = Vec::new();
        let mut add = |text: String| words.extend(text.split(' ').map(String::from));
        match self {
            Op::Send { from, to, payload, reply_to, ttl, request } => {
                let to = match to {
                    To::Agents(agents) => format!("TO {} {}", agents.len(), agents.join(" ")),
                    To::All => "ALL".into(),
                    To::Sender(id) => format!("REPLYTO {id}"),
                };
                add(format!("LTMC.MSG.SEND m {from} {to} {payload}"));
                reply_to.iter().for_each(|id| add(format!("REPLYTO {id}")));
                ttl.iter().for_each(|ttl| add(format!("PX {ttl}")));
                request.iter().for_each(|request| add(format!("REQID {request}")));
            }
            Op::Recv { args, block } => {
                add(format!("LTMC.MSG.RECV m {} COUNT {} PX {}", args.agent, args.count, args.lease));
                args.answer_to.iter().for_each(|id| add(format!("REPLYTO {id}")));
                block.iter().for_each(|ms| add(format!("BLOCK {ms}")));
            }
            Op::Ack { agent, ids } => {
                let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
                add(format!("LTMC.MSG.ACK m {agent} {}", ids.join(" ")));
            }
            Op::Nack { agent, id, delay, is_dead } => {
                add(format!("LTMC.MSG.NACK m {agent} {id}"));
                delay.iter().for_each(|ms| add(format!("DELAY {ms}")));
                is_dead.then(|| add("DEAD".into()));
            }
            Op::Extend { agent, id, lease } => add(format!("LTMC.MSG.EXTEND m {agent} {id} PX {lease}")),
            Op::Requeue { agent, id } => add(format!("LTMC.MSG.REQUEUE m {agent} {id}")),
            Op::Join(agent) => add(format!("LTMC.MSG.JOIN m {agent}")),
            Op::Leave(agent) => add(format!("LTMC.MSG.LEAVE m {agent}")),
            Op::Delete => {}
        }
        words
    }

    /// The request, if it has a `REQID`.
    pub fn asked(&self) -> Option<Asked> {
        let Op::Send { from, to, payload, reply_to, ttl, request: Some(id) } = self else { return None };
        Some(Asked::new(from, id, format!("{to:?} {payload:?} {reply_to:?} {ttl:?}")))
    }

    /// What the naive mailbox answers. `may_wait` says whether the client can wait.
    pub fn apply(&self, naive: &mut Naive, now: u64, may_wait: bool, policy: &Policy) -> Answer {
        match self {
            Op::Send { from, to, payload, reply_to, ttl, .. } => {
                match self.asked().and_then(|asked| naive.requests.find(&asked, now)) {
                    Some(Ok(id)) => return Answer::Known(id),
                    Some(Err(())) => return Answer::Error("ERR"),
                    None => {}
                }
                let (to, reply_to) = match to {
                    To::Agents(agents) => (agents.clone(), *reply_to),
                    To::Sender(id) => match naive.letter(*id) {
                        Some(letter) => (vec![letter.from.clone()], Some(*id)),
                        None => return Answer::Error("ERR"),
                    },
                    To::All => {
                        let mut all = naive.agents();
                        all.extend(naive.waits.iter().map(|wait| wait.args.agent.clone()));
                        all.retain(|agent| agent != from);
                        (all, *reply_to)
                    }
                };
                let mut to = to;
                to.sort();
                to.dedup();
                if to.is_empty() {
                    return Answer::Error("NOAGENT");
                }
                if !naive.has_room(&to, payload.len(), policy) {
                    return Answer::Error("LIMIT");
                }
                let (id, sent, end) = (u64::MAX, now, ttl.map(|ttl| now + ttl));
                naive.letters.push(Letter { id, from: from.clone(), sent, end, reply_to, payload: payload.clone() });
                naive.copies.extend(to.into_iter().map(|agent| Copy { id, agent, deliveries: 0, state: State::Ready }));
                Answer::Sent
            }
            Op::Recv { args, block } => match naive.receive(args, now) {
                Some(Got { messages, .. }) => Answer::Got(messages),
                None if block.is_some() && may_wait => Answer::Waits,
                None => Answer::Got(Vec::new()),
            },
            other => other.apply_to_one(naive, now, policy),
        }
    }

    fn apply_to_one(&self, naive: &mut Naive, now: u64, policy: &Policy) -> Answer {
        let has = |naive: &mut Naive, agent: &str, id: u64| {
            naive.copy(agent, id).is_some_and(|copy| matches!(copy.state, State::Leased(_, until) if until > now))
        };
        let mut done = 0;
        match self {
            Op::Ack { agent, ids } => {
                let before = naive.copies.len();
                naive.copies.retain(|copy| copy.agent != *agent || !ids.contains(&copy.id));
                done = before - naive.copies.len();
            }
            Op::Nack { agent, id, delay, is_dead } if has(naive, agent, *id) => {
                done = 1;
                let deliveries = naive.copy(agent, *id).map_or(0, |copy| copy.deliveries);
                if *is_dead || deliveries >= policy.deliveries_max {
                    let reason = if *is_dead { "refused" } else { "deliveries" };
                    naive.die(agent, *id, now, reason, policy);
                } else if let Some(copy) = naive.copy(agent, *id) {
                    copy.state = delay.map_or(State::Ready, |ms| State::Delayed(now + ms));
                }
            }
            Op::Extend { agent, id, lease } if has(naive, agent, *id) => {
                done = 1;
                naive.last_delivery += 1;
                let delivery = naive.last_delivery;
                naive.copy(agent, *id).into_iter().for_each(|copy| copy.state = State::Leased(delivery, now + lease));
            }
            Op::Requeue { agent, id } => {
                let is_dead = naive.copy(agent, *id).is_some_and(|copy| matches!(copy.state, State::Dead(..)));
                if is_dead {
                    let known = naive.agents();
                    let is_new = !known.contains(agent);
                    if naive.inbox(agent).len() >= policy.inbox_max || (is_new && known.len() >= policy.agents_max) {
                        return Answer::Error("LIMIT");
                    }
                    done = 1;
                    naive
                        .copy(agent, *id)
                        .into_iter()
                        .for_each(|copy| (copy.state, copy.deliveries) = (State::Ready, 0));
                }
            }
            Op::Join(agent) if !naive.joined.iter().any(|(known, _)| known == agent) => {
                let known = naive.agents();
                if !known.contains(agent) && known.len() >= policy.agents_max {
                    return Answer::Error("LIMIT");
                }
                done = 1;
                naive.joined.push((agent.clone(), now));
            }
            Op::Leave(agent) => {
                done = usize::from(naive.agents().contains(agent));
                naive.joined.retain(|(known, _)| known != agent);
                naive.copies.retain(|copy| copy.agent != *agent || matches!(copy.state, State::Dead(..)));
            }
            _ => {}
        }
        naive.tidy();
        Answer::Number(done as u64)
    }
}
