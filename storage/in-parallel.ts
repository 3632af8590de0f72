/** Work on many things, a few at a time. Neighbours: TopicStore and LogStore open and close logs with it. */

/** Runs `work` on all items, at most `runningMax` at a time, and ends when all have ended. */
export async function inParallel<T>(
  items: readonly T[],
  runningMax: number,
  work: (item: T) => Promise<void>,
): Promise<PromiseSettledResult<void>[]> {
  const results: PromiseSettledResult<void>[] = []
  let next = 0
  const worker = async () => {
    for (let item = items[next++]; item !== undefined; item = items[next++]) {
      results.push(...(await Promise.allSettled([work(item)])))
    }
  }
  await Promise.all(Array.from({ length: Math.min(runningMax, items.length) }, worker))
  return results
}
