/** Seed worker: one thread that simulates the seeds it is given, one after the other. Neighbour: seed-pool.ts starts it. */
import { parentPort } from 'node:worker_threads'
import { simulate } from './simulation.ts'
import type { SimulationOptions } from './simulation.ts'

parentPort?.on('message', (options: SimulationOptions) => {
  void simulate(options).then((result) => parentPort?.postMessage(result, []))
})
