//! Copies, and the originals of copies.

use crate::held::Held;
use crate::host::{MemoryHost, Value};
use ltmc::domain::{Entity, KeyId, Record};
use ltmc::snapshot::{self, Encoded};
use std::marker::PhantomData;

/// The original of a copy. It is kept aside, to check that changes of the copy do not reach it.
pub struct Original<E> {
    pub held: Box<dyn Held>,
    pub saved: Encoded,
    pub of: PhantomData<E>,
}

impl<E: Entity> Original<E> {
    pub fn check(&self) {
        let stored: &Record<E> = self.held.any().downcast_ref().expect("it is of this type");
        assert!(snapshot::encode_snapshot_beside(stored) == self.saved, "what happens to a copy reaches the original");
        assert_eq!(stored.check(), Ok(()));
    }
}

impl MemoryHost {
    /// COPY with REPLACE, here and on the replica. Returns the revision that the copy continues
    /// from.
    pub fn copy<E: Entity>(&mut self, from: &KeyId, to: &KeyId) -> u64 {
        let of = |stored: Option<&Record<E>>| {
            let copy = stored.expect("what is copied is there").copied();
            assert_eq!(copy.check(), Ok(()), "a copy is not sound");
            assert!(!copy.is_empty() && copy.state.connections().is_empty() && copy.bound() == 0, "{copy:?}");
            copy
        };
        let (here, there) = (of(self.peek(from)), of(self.copied(from)));
        let (end, revision) = (self.keys[from].1, here.revision);
        self.restore(to, here, there);
        self.keys.get_mut(to).expect("just put there").1 = end;
        revision
    }

    /// The same, but the copy replaces its original, which is returned. `None` if there is nothing.
    pub fn replace_by_copy<E: Entity>(&mut self, key: &KeyId) -> Option<Original<E>> {
        let saved = snapshot::encode_snapshot_beside(self.peek::<E>(key)?);
        let other = KeyId::new(key.db, b"copy");
        self.copy::<E>(key, &other);
        let (here, there) = (self.keys.remove(&other)?, self.replica.remove(&other)?);
        self.replica.insert(key.clone(), there);
        match self.keys.insert(key.clone(), here)? {
            (Value::Ours(held), _) => {
                self.gone.push((key.clone(), held.connections()));
                Some(Original { held, saved, of: PhantomData })
            }
            (Value::Foreign, _) => None,
        }
    }
}
