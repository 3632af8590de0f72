/** Seed worker: one thread that simulates the seeds it is given, one after the other. Neighbour: seed-pool.ts starts it. */
import { parentPort } from 'node:worker_threads'
import { simulateAny } from './simulate-any.ts'
import type { AnySimulation } from './simulate-any.ts'

parentPort?.on('message', (options: AnySimulation) => {
  void simulateAny(options).then((result) => parentPort?.postMessage(result, []))
})
