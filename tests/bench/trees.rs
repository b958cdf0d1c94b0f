//! The tree whose copies share structure beside the map and the list of the standard library: speed
//! and memory, without a server. `make bench-trees` runs it.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Arc;
use std::time::Instant;

use ltmc::domain::algorithm::tree::Tree;
use ltmc::domain::Bytes;

/// Bytes that were asked for and not given back.
static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

/// Counts what is allocated. With the module there is an allocator already.
#[cfg(not(feature = "module"))]
mod counting {
    use super::{Relaxed, ALLOCATED};
    use std::alloc::{GlobalAlloc, Layout, System};

    struct Counting;

    // SAFETY: the system's allocator does all of it.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            ALLOCATED.fetch_add(layout.size(), Relaxed);
            // SAFETY: the caller's promises are passed on.
            unsafe { System.alloc(layout) }
        }
        unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
            ALLOCATED.fetch_sub(layout.size(), Relaxed);
            // SAFETY: the caller's promises are passed on.
            unsafe { System.dealloc(place, layout) }
        }
    }

    #[global_allocator]
    static ALLOCATOR: Counting = Counting;
}

/// Rounds of which the median counts.
const ROUNDS: usize = 9;

/// What is done with a container of so many entries. Times are of one entry, or of one clone with
/// one insertion.
trait Container: Clone {
    const NAME: &'static str;
    fn build(count: usize) -> Self;
    fn insert(&mut self, n: usize);
    fn get(&self, n: usize) -> bool;
    fn sum(&self) -> usize;
}

fn name(n: usize) -> Arc<str> {
    format!("member-{n:07}").into()
}

impl Container for BTreeMap<Arc<str>, usize> {
    const NAME: &'static str = "BTreeMap";
    fn build(count: usize) -> Self {
        (0..count).map(|n| (name(2 * n), n)).collect()
    }
    fn insert(&mut self, n: usize) {
        BTreeMap::insert(self, name(2 * n + 1), n);
    }
    fn get(&self, n: usize) -> bool {
        self.contains_key(&name(2 * n))
    }
    fn sum(&self) -> usize {
        self.values().sum()
    }
}

impl Container for Tree<Arc<str>, usize> {
    const NAME: &'static str = "tree as a map";
    fn build(count: usize) -> Self {
        Tree::of_ordered((0..count).map(|n| (name(2 * n), n)).collect())
    }
    fn insert(&mut self, n: usize) {
        self.set(name(2 * n + 1), n);
    }
    fn get(&self, n: usize) -> bool {
        self.value(&name(2 * n)).is_some()
    }
    fn sum(&self) -> usize {
        self.iter().map(|(_, value)| value).sum()
    }
}

fn field(n: usize) -> Bytes {
    Bytes::from(&*name(n))
}

/// As the fields of a session.
impl Container for Tree<Bytes, Bytes> {
    const NAME: &'static str = "tree of fields";
    fn build(count: usize) -> Self {
        Tree::of_ordered((0..count).map(|n| (field(2 * n), field(n))).collect())
    }
    fn insert(&mut self, n: usize) {
        self.set(field(2 * n + 1), field(n));
    }
    fn get(&self, n: usize) -> bool {
        self.value(&field(2 * n)).is_some()
    }
    fn sum(&self) -> usize {
        self.iter().map(|(_, value)| value.len()).sum()
    }
}

impl Container for Vec<usize> {
    const NAME: &'static str = "Vec";
    fn build(count: usize) -> Self {
        (0..count).collect()
    }
    fn insert(&mut self, n: usize) {
        Vec::insert(self, n, n);
    }
    fn get(&self, n: usize) -> bool {
        self.as_slice().get(n).is_some()
    }
    fn sum(&self) -> usize {
        self.iter().sum()
    }
}

impl Container for Tree<(), usize> {
    const NAME: &'static str = "tree as a list";
    fn build(count: usize) -> Self {
        Tree::of_ordered((0..count).map(|n| ((), n)).collect())
    }
    fn insert(&mut self, n: usize) {
        Tree::insert(self, n, (), n);
    }
    fn get(&self, n: usize) -> bool {
        Tree::get(self, n).is_some()
    }
    fn sum(&self) -> usize {
        self.iter().map(|(_, value)| value).sum()
    }
}

/// Nanoseconds that `work` takes for each of `count`.
fn nanos(count: usize, work: impl FnOnce()) -> f64 {
    let begun = Instant::now();
    work();
    begun.elapsed().as_nanos() as f64 / count as f64
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Build, get, insert, iterate, clone and insert.
const MEASURED: usize = 5;

fn measure<C: Container>(count: usize) -> [f64; MEASURED] {
    // A prime step visits places all over.
    let places = (0..1000).map(|n| n * 7919 % count);
    let mut made = None;
    let build = nanos(count, || made = Some(C::build(count)));
    let Some(mut made) = made else { unreachable!("it was built") };
    let get = nanos(1000, || places.clone().for_each(|n| assert!(black_box(&made).get(n))));
    let insert = nanos(1000, || places.clone().for_each(|n| made.insert(n)));
    let iterate = nanos(count, || {
        black_box(made.sum());
    });
    let clone_and_insert = nanos(3, || {
        for n in [count / 2, count / 3, count / 5] {
            let before = made.clone();
            made.insert(n);
            drop(black_box(before));
        }
    });
    [build, get, insert, iterate, clone_and_insert]
}

/// Bytes of an entry.
fn memory<C: Container>() -> f64 {
    const COUNT: usize = 1_000_000;
    let before = ALLOCATED.load(Relaxed);
    let made = black_box(C::build(COUNT));
    let bytes = ALLOCATED.load(Relaxed) - before;
    drop(made);
    bytes as f64 / COUNT as f64
}

fn row<C: Container>(count: usize) {
    let rounds: Vec<[f64; MEASURED]> = (0..ROUNDS).map(|_| measure::<C>(count)).collect();
    let figures = (0..MEASURED).map(|at| format!(" {:.0} |", median(rounds.iter().map(|round| round[at]))));
    println!("| {} |{}", C::NAME, figures.collect::<String>());
}

fn main() {
    type Map = BTreeMap<Arc<str>, usize>;
    type SharedMap = Tree<Arc<str>, usize>;
    type Fields = Tree<Bytes, Bytes>;
    type List = Vec<usize>;
    type SharedList = Tree<(), usize>;
    println!("Bytes of an entry, with names of 14 bytes:\n");
    println!("| {} |", [Map::NAME, SharedMap::NAME, Fields::NAME, List::NAME, SharedList::NAME].join(" | "));
    let bytes = [memory::<Map>(), memory::<SharedMap>(), memory::<Fields>(), memory::<List>(), memory::<SharedList>()];
    println!("|---|---|---|---|---|\n|{}", bytes.map(|bytes| format!(" {bytes:.0} |")).concat());
    for count in [10_000, 1_000_000] {
        println!("\n{count} entries, ns for each:\n");
        println!("| | build | get | insert | iterate | clone all and insert |\n|---|---|---|---|---|---|");
        row::<Map>(count);
        row::<SharedMap>(count);
        row::<Fields>(count);
        row::<List>(count);
        row::<SharedList>(count);
    }
}
