//! Random problems with every feature: all methods keep all rules, and tiny problems have a known
//! optimum.

use crate::domain::algorithm::splitmix::next_below;
use crate::domain::planning::bound::bounds;
use crate::domain::planning::decode::Line;
use crate::domain::planning::heft::heft;
use crate::domain::planning::instance::Instance;
use crate::domain::planning::model::{Agent, Problem, Rate, Running, Task, Weights, NEVER, NONE};
use crate::domain::planning::moves::Mover;
use crate::domain::planning::plan::{plan, Method};
use crate::domain::planning::schedule::Unplaceable;
use crate::domain::planning::simulate::claims;

const METHODS: [Method; 3] = [Method::Greedy, Method::Anneal, Method::Quantum];

fn table(classes: usize, agents: usize, seed: &mut u64) -> Vec<u32> {
    let mut cell = || {
        let random = next_below(seed, 24);
        if random < 2 {
            NEVER
        } else if random < 3 {
            0
        } else {
            1 + next_below(seed, 30) as u32
        }
    };
    (0..classes * agents).map(|_| cell()).collect()
}

/// A problem with every feature, each with some probability.
fn random_problem(tasks: usize, agents: usize, capacity: usize, mut seed: u64) -> Problem {
    let seed = &mut seed;
    let classes = 1 + next_below(seed, tasks.max(1));
    let team = (0..agents)
        .map(|_| Agent {
            capacity: 1 + next_below(seed, capacity) as u32,
            busy_until_ms: (0..next_below(seed, 3)).map(|_| next_below(seed, 20) as u64).collect(),
        })
        .collect();
    let mut problem = Problem::new(team, classes, table(classes, agents, seed));
    problem.lock_busy_until_ms = (0..3).map(|_| next_below(seed, 2) as u64 * 9).collect();
    problem.group_max = vec![1, 2];
    if next_below(seed, 2) == 0 {
        problem.active_max = 1 + next_below(seed, 4) as u32;
    }
    if next_below(seed, 2) == 0 {
        let count = 1 + next_below(seed, 3) as u32;
        let recent_until_ms = (0..next_below(seed, 3)).map(|_| next_below(seed, 15) as u64).collect();
        problem.rate = Some(Rate { count, window_ms: next_below(seed, 15) as u32, recent_until_ms });
    }
    if next_below(seed, 2) == 0 {
        problem.affinity_ms = (0..classes * agents).map(|_| next_below(seed, 21) as i32 - 10).collect();
    }
    problem.weights = Weights {
        makespan: next_below(seed, 4) as u32,
        tardiness: next_below(seed, 3) as u32,
        affinity: next_below(seed, 3) as u32,
    };
    for task in 0..tasks {
        let mut pick = |odds: usize, end: usize| {
            let mut list: Vec<u32> = (0..end as u32).filter(|_| next_below(seed, odds) == 0).collect();
            list.truncate(4);
            list
        };
        let (parents, locks) = (pick(4, task.min(12)), pick(5, 3));
        let is_running = next_below(seed, 8) == 0;
        problem.push(&Task {
            class: next_below(seed, classes) as u32,
            parents: if is_running { &[] } else { &parents },
            earliest_ms: next_below(seed, 3) as u64 * next_below(seed, 12) as u64,
            deadline_ms: next_below(seed, 2) as u64 * next_below(seed, 60) as u64,
            priority: next_below(seed, 3) as i64,
            locks: &locks,
            group: if next_below(seed, 3) == 0 { next_below(seed, 2) as u32 } else { NONE },
            running: is_running
                .then(|| Running { agent: next_below(seed, agents) as u32, remaining_ms: next_below(seed, 20) as u32 }),
        });
    }
    problem
}

/// The smallest cost, and the smallest makespan, of all orders and agents.
fn optimum(instance: &Instance) -> (u64, u64) {
    struct Search<'a> {
        instance: &'a Instance<'a>,
        order: Vec<u32>,
        agent: Vec<u32>,
        best: (u64, u64),
    }
    fn go(search: &mut Search) {
        let instance = search.instance;
        if search.order.len() == instance.len() {
            let line = Line::new(instance, search.order.clone(), search.agent.clone());
            search.best = (search.best.0.min(line.cost), search.best.1.min(line.makespan));
            return;
        }
        for job in 0..instance.len() {
            let is_next = !search.order.contains(&(job as u32))
                && instance.parents_of(job).iter().all(|parent| search.order.contains(parent));
            if is_next {
                search.order.push(job as u32);
                for &agent in instance.able_of(job) {
                    search.agent[job] = agent;
                    go(search);
                }
                search.order.pop();
            }
        }
    }
    let mut search = Search { instance, order: vec![], agent: vec![0; instance.len()], best: (u64::MAX, u64::MAX) };
    go(&mut search);
    search.best
}

#[test]
fn every_method_keeps_every_rule() {
    for seed in 0..150 {
        let size = 1 + seed as usize % 50;
        let problem = random_problem(size, 1 + seed as usize % 6, 1 + seed as usize % 4, seed);
        let instance = Instance::new(&problem).unwrap();
        let bound = bounds(&instance);
        let (order, agent) = heft(&instance);
        Line::new(&instance, order, agent).schedule().check(&problem).unwrap();
        let (order, agent) = claims(&instance).unwrap();
        Line::new(&instance, order, agent).schedule().check(&problem).unwrap();
        let mut last = u64::MAX;
        for method in METHODS {
            let made = plan(&problem, method, 2, seed, &mut || false).unwrap();
            made.schedule.check(&problem).unwrap_or_else(|why| panic!("seed {seed} {method:?}: {why}"));
            assert!(bound.makespan_ms() <= made.schedule.makespan_ms, "seed {seed}: {bound:?}");
            assert!(!made.cut);
            if method == Method::Greedy {
                last = made.schedule.cost;
            }
            assert!(made.schedule.cost <= last, "seed {seed}: {method:?} is worse than GREEDY");
        }
    }
}

#[test]
fn tiny_problems_are_solved_to_the_optimum_and_bounded_below() {
    let (mut solved, mut bound_sum, mut best_sum, mut greedy_hits) = (0, 0, 0, 0);
    let total = 60;
    for seed in 1_000..1_000 + total {
        let problem = random_problem(1 + seed as usize % 5, 1 + seed as usize % 3, 2, seed);
        let instance = Instance::new(&problem).unwrap();
        let (cost, makespan) = optimum(&instance);
        let bound = bounds(&instance);
        assert!(bound.makespan_ms() <= makespan, "seed {seed}: {bound:?} of {makespan}");
        bound_sum += bound.makespan_ms();
        best_sum += makespan;
        for method in METHODS {
            let made = plan(&problem, method, 3, seed, &mut || false).unwrap().schedule;
            assert!(made.cost >= cost, "seed {seed}: {} is below the optimum {cost}", made.cost);
            if method == Method::Anneal {
                solved += u64::from(made.cost == cost);
            }
            if method == Method::Greedy {
                greedy_hits += u64::from(made.cost == cost);
            }
        }
    }
    println!("annealing {solved}, greedy {greedy_hits} of {total} optimal; bound {bound_sum} of {best_sum}");
    assert!(solved * 100 >= total * 97, "only {solved} of {total} were solved");
    assert!(bound_sum * 100 >= best_sum * 80, "the bound is {bound_sum} of {best_sum}");
}

/// Durations of which the best choice is not the first one, so that a search has something to do.
fn hard(seed: u64) -> Problem {
    let mut seed = seed;
    let durations = (0..60 * 5).map(|_| 1 + next_below(&mut seed, 100) as u32).collect();
    let mut problem = Problem::new(vec![Agent { capacity: 1, busy_until_ms: vec![] }; 5], 60, durations);
    for class in 0..60 {
        let parents: Vec<u32> = if class < 40 { vec![] } else { vec![class - 1 - next_below(&mut seed, 9) as u32] };
        problem.push(&Task { class, parents: &parents, ..Task::default() });
    }
    problem
}

#[test]
fn the_same_seed_gives_the_same_plan() {
    let problem = hard(5);
    for method in METHODS {
        let make = |seed| plan(&problem, method, 5, seed, &mut || false).unwrap();
        assert_eq!(make(1), make(1));
    }
}

#[test]
fn searching_is_better_than_greed() {
    let problem = hard(6);
    let cost = |method, budget| plan(&problem, method, budget, 1, &mut || false).unwrap().schedule.cost;
    let greedy = cost(Method::Greedy, 0);
    assert!(cost(Method::Anneal, 20) < greedy);
    assert!(cost(Method::Quantum, 20) < greedy);
}

#[test]
fn a_search_that_is_cut_returns_the_best_so_far() {
    let problem = hard(7);
    for method in [Method::Anneal, Method::Quantum] {
        let mut asked = 0;
        let mut is_over = || {
            asked += 1;
            asked > 3
        };
        let made = plan(&problem, method, 1_000, 1, &mut is_over).unwrap();
        assert!(made.cut);
        assert_eq!(asked, 4);
        made.schedule.check(&problem).unwrap();
        let greedy = plan(&problem, Method::Greedy, 0, 1, &mut || false).unwrap();
        assert!(made.schedule.cost <= greedy.schedule.cost && !greedy.cut);
    }
}

#[test]
fn what_cannot_be_placed_has_a_reason() {
    let team = vec![Agent { capacity: 1, busy_until_ms: vec![] }, Agent { capacity: 0, busy_until_ms: vec![] }];
    let mut problem = Problem::new(team, 2, vec![5; 4]);
    problem.restrict(1, &[1]);
    problem.group_max = vec![0];
    let alone = problem.push(&Task { class: 1, ..Task::default() });
    let child = problem.push(&Task { parents: &[alone], ..Task::default() });
    problem.push(&Task { parents: &[child], ..Task::default() });
    problem.push(&Task { group: 0, ..Task::default() });
    let fine = problem.push(&Task::default()) as usize;
    for method in METHODS {
        let made = plan(&problem, method, 1, 1, &mut || false).unwrap().schedule;
        made.check(&problem).unwrap();
        let reasons = [Unplaceable::NobodyCan, Unplaceable::After(0), Unplaceable::After(1), Unplaceable::LimitIsZero];
        let expected: Vec<_> = (0..4).zip(reasons).collect();
        assert_eq!(made.unplaceable, expected);
        assert_eq!((made.agent[fine], made.end_ms[fine]), (0, 5));
    }
    problem.agents[0].capacity = 0;
    let made = plan(&problem, Method::Anneal, 1, 1, &mut || false).unwrap().schedule;
    assert!(made.unplaceable.iter().all(|(_, why)| *why == Unplaceable::NoAgents));
    assert_eq!(made.unplaceable.len(), 5);
}

#[test]
fn nothing_and_nobody_are_planned() {
    let nothing = Problem::new(vec![Agent { capacity: 1, busy_until_ms: vec![] }], 1, vec![1]);
    let mut nobody = Problem::new(vec![], 1, vec![]);
    nobody.push(&Task::default());
    for method in METHODS {
        let made = plan(&nothing, method, 1, 1, &mut || false).unwrap();
        assert_eq!((made.schedule.makespan_ms, made.bounds.makespan_ms()), (0, 0));
        let made = plan(&nobody, method, 1, 1, &mut || false).unwrap();
        assert_eq!(made.schedule.unplaceable, [(0, Unplaceable::NoAgents)]);
    }
}

#[test]
fn locks_groups_and_rates_hold_tasks_back() {
    let team = vec![Agent { capacity: 10, busy_until_ms: vec![] }];
    let many = |change: &dyn Fn(&mut Problem), locks: &[u32], group: u32| {
        let mut problem = Problem::new(team.clone(), 1, vec![10]);
        problem.lock_busy_until_ms = vec![7];
        problem.group_max = vec![2];
        change(&mut problem);
        (0..6).for_each(|_| {
            problem.push(&Task { locks, group, ..Task::default() });
        });
        let made = plan(&problem, Method::Greedy, 0, 1, &mut || false).unwrap();
        made.schedule.check(&problem).unwrap();
        assert_eq!(made.schedule.makespan_ms, made.bounds.makespan_ms());
        made.schedule.makespan_ms
    };
    assert_eq!(many(&|_| (), &[], NONE), 10);
    assert_eq!(many(&|_| (), &[0], NONE), 67, "one after the other, when the lock is free");
    assert_eq!(many(&|_| (), &[], 0), 30, "two at once");
    assert_eq!(many(&|problem| problem.active_max = 3, &[], NONE), 20, "three at once");
    let rate = Rate { count: 2, window_ms: 100, recent_until_ms: vec![40] };
    assert_eq!(many(&|problem| problem.rate = Some(rate.clone()), &[], NONE), 250, "starts at 0, 40, …, 240");
}

#[test]
fn running_tasks_keep_their_places_and_delay_others() {
    let team = vec![Agent { capacity: 1, busy_until_ms: vec![] }; 2];
    let mut problem = Problem::new(team, 1, vec![10, 30]);
    problem.lock_busy_until_ms = vec![0];
    let running = Some(Running { agent: 0, remaining_ms: 25 });
    let first = problem.push(&Task { locks: &[0], running, ..Task::default() });
    problem.push(&Task { parents: &[first], ..Task::default() });
    problem.push(&Task { locks: &[0], ..Task::default() });
    let made = plan(&problem, Method::Anneal, 1, 1, &mut || false).unwrap().schedule;
    made.check(&problem).unwrap();
    assert_eq!((made.agent[0], made.start_ms[0], made.end_ms[0]), (0, 0, 25));
    assert!(made.start_ms[1] >= 25 && made.start_ms[2] >= 25);
    assert_eq!(made.makespan_ms, 45, "both on the fast agent");
}

#[test]
fn broken_schedules_are_found() {
    let problem = hard(8);
    let made = plan(&problem, Method::Greedy, 0, 1, &mut || false).unwrap().schedule;
    made.check(&problem).unwrap();
    for task in 0..problem.len() {
        let mut broken = made.clone();
        broken.start_ms[task] += 1;
        assert!(broken.check(&problem).is_err());
        let mut broken = made.clone();
        broken.agent[task] = NONE;
        assert!(broken.check(&problem).is_err());
        if made.start_ms[task] > 0 {
            let mut early = made.clone();
            (early.start_ms[task], early.end_ms[task]) = (0, made.end_ms[task] - made.start_ms[task]);
            assert!(early.check(&problem).is_err(), "left-shifted schedules leave no room");
        }
    }
}

#[test]
fn broken_problems_are_refused() {
    let breaks: [&dyn Fn(&mut Problem); 8] = [
        &|problem| problem.class[3] = 60,
        &|problem| problem.parents[0] = 59,
        &|problem| problem.locks.push(0),
        &|problem| problem.group[0] = 0,
        &|problem| problem.earliest_ms[0] = u64::MAX,
        &|problem| problem.duration_ms[0] = u32::MAX - 1,
        &|problem| problem.affinity_ms = vec![1],
        &|problem| problem.parent_at.clear(),
    ];
    for change in breaks {
        let mut problem = hard(9);
        change(&mut problem);
        assert!(plan(&problem, Method::Greedy, 0, 1, &mut || false).is_err());
    }
}

#[test]
fn what_is_kept_step_by_step_is_what_would_be_computed_anew() {
    let mut met = 0;
    for seed in 0..30 {
        let size = 20 + 4 * seed as usize;
        let mut problem = random_problem(size, 1 + seed as usize % 9, 1 + seed as usize % 3, seed);
        problem.weights.makespan = 1;
        let instance = Instance::new(&problem).unwrap();
        let (order, agent) = heft(&instance);
        let mut line = Line::new(&instance, order, agent);
        let mut mover = Mover::new(seed);
        if instance.is_empty() {
            continue;
        }
        for step in 0..1_500 {
            let place = line.met;
            if mover.step(&mut line, f64::from(step % 7) * 3.0, &|_, _| 0) {
                met += usize::from(line.met < line.order.len() && place > 0);
                let again = Line::new(&instance, line.order.clone(), line.agent.clone());
                assert_eq!((line.cost, line.makespan, line.late), (again.cost, again.makespan, again.late));
                assert_eq!((&line.end, &line.start, &line.place), (&again.end, &again.start, &again.place));
                assert_eq!((&line.before, &line.after), (&again.before, &again.after));
                assert!(instance.has_wide_pools || line.first == again.first, "seed {seed} step {step}");
                assert_eq!(line.tail, again.tail, "seed {seed} step {step}");
            }
        }
    }
    assert!(met > 250, "changes met the old schedule only {met} times");
}
