/** What a broker says about itself: what it is and uses, and what is wrong with it. Called by parts.ts. */
import type { ReplyOf } from '../protocol/api.ts'
import type { Partitions } from '../replication/partitions.ts'
import type { Tier } from '../storage/tier/tier.ts'
import type { Listener } from './listener.ts'
import { release } from './release.ts'
import type { Services } from './request.ts'

export function problemsOf(partitions: Partitions, tier: Tier | undefined): string[] {
  const problems: string[] = [...(tier?.problems ?? [])]
  for (const { topic, partition, log } of partitions.all()) {
    for (const damage of log.damage) problems.push(`${topic}/${partition}: ${damage}`)
  }
  return problems
}

export function statusOf(services: Services, listener: Listener, startedMs: number): ReplyOf<'status'> {
  const { identity, partitions } = services
  const { user, system } = process.cpuUsage()
  let count = 0
  let logBytes = 0
  for (const { log } of partitions.all()) {
    count++
    logBytes += log.sizeBytes
  }
  return {
    release,
    ...identity,
    uptimeMs: Math.round(services.clock.monotonicMs() - startedMs),
    cpuMs: Math.round((user + system) / 1000),
    rssBytes: process.memoryUsage.rss(),
    connections: listener.connections,
    topics: partitions.topics().filter(({ internal }) => !internal).length,
    partitions: count,
    logBytes,
    problems: services.problems().slice(0, 1000),
  }
}
