//! How many clients are served in one go: those that wait may be thousands, and each may get a lot.

use crate::command::node::stopwatch::Stopwatch;
use crate::command::node::Node;
use crate::command::reply::{Reply, Size};
use crate::domain::looked;

/// What one round gives to clients that wait, before other commands have their turn. Serving a
/// client takes about as long as 16 looks at one that is not served, or as copying 16 KiB.
#[derive(Debug, Default)]
pub struct Round {
    looks: usize,
    stopwatch: Stopwatch,
}

impl Round {
    const LOOKS_MAX: usize = 2_048;
    const LOOKS_OF_CLIENT: usize = 16;
    const BYTES_OF_LOOK: usize = 1_024;
    const VALUES_OF_LOOK: usize = 8;

    /// One that also ends when the call in which it begins has taken long enough. Something is done
    /// in any case.
    pub fn of(node: &Node) -> Self {
        Self { looks: 0, stopwatch: node.stopwatch }
    }

    /// Whether the next client has to wait for the next round.
    pub fn is_over(&self) -> bool {
        self.looks >= Self::LOOKS_MAX || (self.looks > 0 && self.stopwatch.is_late())
    }

    /// So much was looked at in vain.
    pub fn looks(&mut self, looks: usize) {
        self.looks += looks;
    }

    /// So many clients are answered.
    pub fn serves(&mut self, clients: usize) {
        self.looks += clients * Self::LOOKS_OF_CLIENT;
        looked(clients * Self::LOOKS_OF_CLIENT);
    }

    /// A client is answered with this.
    pub fn sends(&mut self, reply: &Reply) {
        let Size { text_bytes, elements } = reply.size();
        self.serves(1);
        self.looks += text_bytes / Self::BYTES_OF_LOOK + elements / Self::VALUES_OF_LOOK;
    }

    /// How much of a round of the scheduler that was: an ended round leaves nothing of it.
    pub fn work(&self) -> usize {
        self.looks.div_ceil(Self::LOOKS_OF_CLIENT / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_ends_after_some_clients_or_a_few_large_replies() {
        let rounds = |work: &dyn Fn(&mut Round)| {
            let (mut round, mut count) = (Round::default(), 0);
            while !round.is_over() {
                work(&mut round);
                count += 1;
            }
            (count, round.work())
        };
        assert_eq!(rounds(&|round| round.looks(1)), (2_048, 256));
        assert_eq!(rounds(&|round| round.sends(&Reply::Nil)).0, 128);
        assert_eq!(rounds(&|round| round.sends(&Reply::Bytes(vec![0; 1 << 20]))).0, 2);
        assert_eq!(rounds(&|round| round.sends(&Reply::Array(vec![Reply::Nil; 10_000]))).0, 2);
    }
}
