//! Which server takes which job: least expected finish.
//!
//! List scheduling on unrelated machines (Graham 1966; Ibarra and Kim 1977, "earliest completion
//! time"): jobs are looked at in order, each is given the server on which it would be finished
//! first, and counts there as load for those behind it. So a job rather waits for a fast server
//! than to begin on a slow one, when that is quicker.
//!
//! Holds: a function of what it is given. A server is never given more jobs than it has slots.

/// A server as a dispatcher sees it.
#[derive(Clone, Debug)]
pub struct Load {
    /// For each slot the seconds until it is expected to be free; 0: it is.
    pub free_in: Vec<f64>,
}

/// A job that waits.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// For each server the seconds that this job would take there; `None`: not there.
    pub takes: Vec<Option<f64>>,
}

/// For each job, in the order of waiting, the server that it may begin on now. `None`: it waits.
pub fn assign(servers: &[Load], jobs: &[Waiting]) -> Vec<Option<usize>> {
    let mut free_in: Vec<Vec<f64>> = servers.iter().map(|server| server.free_in.clone()).collect();
    let place = |job: &Waiting| {
        let slots = free_in.iter().enumerate().flat_map(|(server, slots)| {
            slots.iter().enumerate().map(move |(slot, free)| (server, slot, *free))
        });
        let (server, slot, free, takes) = slots
            .filter_map(|(server, slot, free)| {
                let takes = job.takes.get(server).copied().flatten()?;
                Some((server, slot, free, takes))
            })
            .min_by(|a, b| (a.2 + a.3).total_cmp(&(b.2 + b.3)))?;
        free_in[server][slot] = free + takes;
        (free <= 0.0).then_some(server)
    };
    jobs.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn servers(free_in: &[f64]) -> Vec<Load> {
        free_in.iter().map(|free| Load { free_in: vec![*free] }).collect()
    }

    fn job(takes: &[f64]) -> Waiting {
        Waiting { takes: takes.iter().map(|t| Some(*t)).collect() }
    }

    #[test]
    fn a_job_waits_for_a_fast_server_if_that_is_quicker() {
        // The slow server is free, but takes 30 s; the fast one is free in 4 s and takes 10.
        let speeds = [30.0, 10.0];
        assert_eq!(assign(&servers(&[0.0, 4.0]), &[job(&speeds)]), [None]);
        assert_eq!(assign(&servers(&[0.0, 25.0]), &[job(&speeds)]), [Some(0)]);
        // With three jobs before it, the slow one is quicker after all.
        let jobs = vec![job(&speeds); 3];
        assert_eq!(assign(&servers(&[0.0, 4.0]), &jobs), [None, None, Some(0)]);
    }

    #[test]
    fn a_job_goes_only_where_it_may() {
        let jobs = [Waiting { takes: vec![None, Some(5.0)] }, Waiting { takes: vec![None, None] }];
        assert_eq!(assign(&servers(&[0.0, 0.0]), &jobs), [Some(1), None]);
    }

    #[test]
    fn slots_are_filled_and_not_more() {
        let server = [Load { free_in: vec![0.0, 0.0] }];
        assert_eq!(assign(&server, &vec![job(&[5.0]); 3]), [Some(0), Some(0), None]);
    }

    proptest! {
        /// Nobody idles while somebody waits who may go there and has no better server at all.
        #[test]
        fn equal_servers_are_never_idle_while_jobs_wait(
            free in prop::collection::vec(prop_oneof![Just(0.0), 0.1f64..30.0], 1..9),
            jobs in 0usize..20,
        ) {
            let jobs = vec![job(&vec![20.0; free.len()]); jobs];
            let assigned = assign(&servers(&free), &jobs);
            let begun = assigned.iter().flatten().count();
            let idle = free.iter().filter(|f| **f == 0.0).count();
            prop_assert_eq!(begun, idle.min(jobs.len()));
            let mut taken: Vec<usize> = assigned.into_iter().flatten().collect();
            taken.sort_unstable();
            taken.dedup();
            prop_assert_eq!(taken.len(), begun);
        }
    }
}
