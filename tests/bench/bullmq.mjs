// One round of BullMQ: adds jobs in batches, lets workers do them, and prints how many of both it did in a second, as JSON.
//
// node bullmq.mjs FOLDER PORT JOBS WORKERS CONCURRENCY PAYLOAD
//
// FOLDER is where npm has put BullMQ. Each of so many Workers has connections of its own and does up to CONCURRENCY jobs at a time; all
// run in this one process, whose code is compiled while a first queue of jobs is done that does not count.

import { createRequire } from 'node:module';

const BATCH = 200;
const WARM_UP_JOBS = 1000;

const [folder, port, jobs, workers, concurrency, payload] = process.argv.slice(2);
const { Queue, Worker } = createRequire(`${folder}/`)('bullmq');
// Workers insist that a command may be tried again for ever.
const connection = { host: '127.0.0.1', port: Number(port), maxRetriesPerRequest: null };

/** What a second would see of something that is there so many times since `begun`. */
const perSecond = (count, begun) => (count * 1000) / (performance.now() - begun);

/** Jobs a second that were added, batch after batch. */
async function add(queue, count) {
  const begun = performance.now();
  for (let at = 0; at < count; at += BATCH) {
    const batch = Math.min(BATCH, count - at);
    await queue.addBulk(Array.from({ length: batch }, () => ({ name: 'job', data: { payload } })));
  }
  return perSecond(count, begun);
}

/** Jobs a second that were done until there was none left; what is done is what the server has been told. */
async function work(name, count) {
  let done = 0;
  let finish;
  const finished = new Promise((resolve, reject) => {
    finish = { resolve, reject };
  });
  const all = Array.from({ length: Number(workers) }, () => {
    const worker = new Worker(name, async () => 'done', { connection, concurrency: Number(concurrency), autorun: false });
    worker.on('completed', () => ++done === count && finish.resolve());
    worker.on('failed', (_, error) => finish.reject(error));
    return worker.on('error', finish.reject);
  });
  await Promise.all(all.map((worker) => worker.waitUntilReady()));
  const begun = performance.now();
  all.forEach((worker) => worker.run().catch(finish.reject));
  await finished;
  const rate = perSecond(count, begun);
  all.forEach((worker) => worker.off('error', finish.reject).on('error', () => {}));
  await Promise.all(all.map((worker) => worker.close()));
  return rate;
}

/** Adds jobs to a queue of this name and does them. */
async function round(name, count) {
  const queue = new Queue(name, { connection });
  await queue.waitUntilReady();
  const added = await add(queue, count);
  const done = await work(name, count);
  await queue.close();
  return { added, done };
}

await round('warm-up', WARM_UP_JOBS);
console.log(JSON.stringify(await round('measured', Number(jobs))));
process.exit();
