/**
 * Replica files: whether all replicas of each partition have the same batches, byte for byte, as their segment files on the machines' disks say. Read beside
 * the brokers that serve them: what is in sync is in the files. Neighbours: nemesis-run.ts asks once the cluster has come to rest.
 */
import { createHash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '../../platform/clock.ts'
import { nodeFileSystem } from '../../platform/node-file-system.ts'
import type { ClusterState } from '../../replication/cluster-state.ts'
import { dumpSegment } from '../../storage/segment-dump.ts'
import type { Machine } from './machine.ts'

/** What differs, in words. */
export async function compareReplicaFiles(state: ClusterState, machines: readonly Machine[]): Promise<string[]> {
  const findings: string[] = []
  for (const { topicId, partition, state: seen } of state.allPartitions()) {
    const texts = new Map<number, string>()
    for (const machine of machines) {
      if (!seen.replicas.includes(machine.broker)) continue
      const directory = join(machine.dataDirectory, 'topics', topicId, String(partition))
      texts.set(machine.broker, await digestOf(directory, seen.startOffset))
    }
    const name = `${state.topics.get(topicId)?.record.name ?? topicId}/${partition}`
    if (new Set(texts.values()).size > 1)
      findings.push(`${name}: replicas differ: ${[...texts].map(([broker, text]) => `${broker}: ${text}`).join('; ')}`)
  }
  return findings
}

/** Of what is behind the agreed start: below it each removes for itself. */
async function digestOf(directory: string, startOffset: number): Promise<string> {
  const hash = createHash('sha256')
  let [batches, end, damaged] = [0, 0, '']
  // Not there before the first record.
  const names = await readdir(directory).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
    return []
  })
  const files = names.filter((name) => name.endsWith('.log')).toSorted()
  for (const file of files) {
    const path = join(directory, file)
    await dumpSegment({ fileSystem: nodeFileSystem, clock: systemClock, path }, (piece) => {
      if (piece.kind === 'batch') {
        if (piece.batch.lastOffset < startOffset) return Promise.resolve()
        hash.update(piece.batch.bytes)
        batches++
        end = piece.batch.lastOffset + 1
      } else if (piece.kind === 'damage') damaged = `, ${file} damaged at ${piece.position}: ${piece.reason}`
      return Promise.resolve()
    })
  }
  return `${batches} batches to ${end}, ${hash.digest('hex').slice(0, 16)}${damaged}`
}
