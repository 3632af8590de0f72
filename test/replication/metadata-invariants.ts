/**
 * What must hold of every step that the metadata of a simulated cluster takes: who leads was complete and is there, epochs rise with leaders, nobody
 * registers who is still counted on. Watches every state that the simulated etcd ever has and keeps the violations.
 */
import { brokerOfKey, metadataKeys } from '../../replication/metadata-keys.ts'
import { readPartition } from '../../replication/metadata-records.ts'
import type { PartitionState } from '../../replication/isr-change.ts'
import type { SimulatedEtcd } from './simulated-metadata-store.ts'

export class MetadataInvariants {
  readonly violations: string[] = []
  readonly #etcd: SimulatedEtcd
  readonly #partitions = new Map<string, PartitionState>()

  constructor(etcd: SimulatedEtcd) {
    this.#etcd = etcd
    etcd.watch((key) => key !== undefined && this.#check(key))
  }

  /** Called for each change of a key, before the next. */
  #check(key: string): void {
    const entry = this.#etcd.table.get(key)
    if (key.startsWith(metadataKeys.partitions)) {
      const before = this.#partitions.get(key)
      if (entry === undefined) return void this.#partitions.delete(key)
      const state = readPartition(entry)
      this.#partitions.set(key, state)
      if (before !== undefined) this.#checkStep(key, before, state)
    } else if (key.startsWith(metadataKeys.sessions) && entry !== undefined) {
      const broker = brokerOfKey(key)
      for (const [name, { isr, leader }] of this.#partitions) {
        if (isr.includes(broker) || leader === broker)
          this.violations.push(`${key} registered while ${name} counts on it`)
      }
    }
  }

  #checkStep(key: string, before: PartitionState, after: PartitionState): void {
    const violated = (what: string) =>
      this.violations.push(`${key} ${what}: ${JSON.stringify(before)} -> ${JSON.stringify(after)}`)
    const isLive = (broker: number) => this.#etcd.table.get(metadataKeys.session(broker)) !== undefined
    if (after.leader !== before.leader && after.leaderEpoch <= before.leaderEpoch)
      violated('a new leader without a new epoch')
    if (after.leader === before.leader && after.leaderEpoch !== before.leaderEpoch)
      violated('a new epoch without a new leader')
    if (after.leader !== null && after.leader !== before.leader && !isLive(after.leader))
      violated('elected who is not there')
    if (after.uncleanEpoch !== before.uncleanEpoch) return
    const complete = [...before.isr, ...before.elr]
    if (after.leader !== null && after.leader !== before.leader && !complete.includes(after.leader))
      violated('elected who lacks something')
    for (const broker of after.isr)
      if (!before.isr.includes(broker) && !isLive(broker)) violated(`let in ${broker}, who is not there`)
  }
}
