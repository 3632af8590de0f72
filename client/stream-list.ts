/**
 * StreamList: one page of a topic's stream names. Every broker lists the partitions that it leads; here they become one list again.
 * Called by Topic.
 */
import type { ReplyOf, RequestOf } from '../protocol/api.ts'
import type { ListedStream } from '../protocol/stream.ts'
import { Deadline } from './deadline.ts'
import { withRetry } from './retry.ts'
import { Route } from './route.ts'
import type { TopicState, WaitOptions } from './topic-state.ts'

type Page = ReplyOf<'listStreams'>

export function listStreams(
  state: TopicState,
  request: Omit<RequestOf<'listStreams'>, 'partitions'>,
  { timeoutMs = state.cluster.timeoutMs, signal }: WaitOptions,
): Promise<Page> {
  const { cluster } = state
  const deadline = new Deadline(cluster.clock, timeoutMs, signal)
  const anyRoute = new Route(cluster)
  return withRetry(deadline, 'reads', cluster.random, async () => {
    const ask = async (partitions: number[] | undefined, route: Route) => {
      const options = { policy: 'reads' as const, route, ...(signal && { signal }) }
      return (await cluster.attempt('listStreams', { ...request, partitions }, options, deadline)).header
    }
    // A broker by itself lists all; one that does not says where another is, and then it is known who leads what.
    if (!cluster.hasOthers) return ask(undefined, anyRoute)
    const byLeader = await partitionsByLeader(state, deadline)
    const pages = await Promise.all(
      Array.from(byLeader, async ([leader, partitions]) => {
        try {
          return await ask(byLeader.size === 1 ? undefined : partitions, new Route(cluster, undefined, leader))
        } catch (error) {
          // It may be about any of them.
          for (const partition of partitions) state.routes.of(partition).doubt(leader)
          throw error
        }
      }),
    )
    return pages.length === 1 ? pages[0]! : merged(pages, request.limit)
  })
}

async function partitionsByLeader(state: TopicState, deadline: Deadline): Promise<Map<number | undefined, number[]>> {
  const { partitions } = await state.layout({ timeoutMs: Math.max(1, deadline.remainingMs) })
  const byLeader = new Map<number | undefined, number[]>()
  for (let partition = 0; partition < partitions; partition++) {
    const route = state.routes.of(partition)
    if (route.isStale) await route.ready(deadline)
    const together = byLeader.get(route.broker)
    if (together === undefined) byLeader.set(route.broker, [partition])
    else together.push(partition)
  }
  return byLeader
}

function merged(pages: readonly Page[], limit: number): Page {
  const listed = pages.flatMap(({ streams }) => streams).map((each) => ({ each, bytes: Buffer.from(each.stream) }))
  const inOrder = listed.toSorted((a, b) => Buffer.compare(a.bytes, b.bytes)).map(({ each }): ListedStream => each)
  return { streams: inOrder.slice(0, limit), more: inOrder.length > limit || pages.some(({ more }) => more) }
}
