/**
 * DiskLosses: whose disk may be lost now. Invariant: a disk is lost only while every partition has all of its replicas in sync: that is all that
 * replication promises to survive. Neighbours: the fleets of the simulator and of the nemesis.
 */
import type { ClusterState } from '../../replication/cluster-state.ts'

export class DiskLosses {
  /** Whose was lost last, and when by etcd's revision: the broker is not in sync again before it has registered after that. */
  #last: { readonly broker: number; readonly revision: number } | undefined

  /** All that it has is on two other disks, or will be once they are up; and who lost one before has all of it again. */
  mayLose(state: ClusterState, broker: number): boolean {
    if (this.#last !== undefined && (state.sessions.get(this.#last.broker)?.brokerEpoch ?? 0) <= this.#last.revision)
      return false
    return [...state.allPartitions()].every(
      ({ state: { isr, replicas, isrMin } }) =>
        isr.length === replicas.length && (!replicas.includes(broker) || (replicas.length > 2 && isrMin >= 2)),
    )
  }

  lost(broker: number, revision: number): void {
    this.#last = { broker, revision }
  }
}
