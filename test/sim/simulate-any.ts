/** One seed of either simulation: of one broker, or of a cluster. Neighbours: run.ts and seed-worker.ts call it. */
import { clusterFaultKinds } from './cluster/cluster-nemesis.ts'
import type { ClusterFault } from './cluster/cluster-nemesis.ts'
import { simulateCluster } from './cluster/cluster-simulation.ts'
import { faultKinds } from './nemesis.ts'
import type { Fault } from './nemesis.ts'
import { simulate } from './simulation.ts'
import type { SimulationResult } from './run-seed.ts'

export interface AnySimulation {
  readonly seed: number
  readonly isCluster: boolean
  /** Of `kindsOf`. */
  readonly kinds?: readonly string[]
  readonly keepTrace?: boolean
}

export function kindsOf(isCluster: boolean): readonly string[] {
  return isCluster ? clusterFaultKinds : faultKinds
}

export function simulateAny({ isCluster, kinds, ...options }: AnySimulation): Promise<SimulationResult> {
  if (isCluster) return simulateCluster({ ...options, ...(kinds && { kinds: kinds as ClusterFault[] }) })
  return simulate({ ...options, ...(kinds && { kinds: kinds as Fault[] }) })
}
