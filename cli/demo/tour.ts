/**
 * Tour: the five steps of the demo against a broker: record, rewind, decide, rederive, measure. Each says what it does and what came of it.
 * Called by cli/demo.ts; speaks through narration.ts; what the data is stands in shop-history.ts.
 */
import type { ConnectionOptions } from '../connection-options.ts'
import type { EventStream, Playhead } from '../../client/index.ts'
import { connect, isPlayheadError } from '../../client/index.ts'
import { lmdbViewStore, view } from '../../processing/index.ts'
import type { View, ViewProgress } from '../../processing/index.ts'
import { importFile } from '../import-file.ts'
import type { ImportProgress } from '../import-file.ts'
import { measureDurableRate, measureRoundTrips } from './measurement.ts'
import { count, pounds, say, seconds, step, table } from './narration.ts'
import type { Narration } from './narration.ts'
import { packagePath } from './package-path.ts'
import {
  cartOf,
  customer,
  historyMapping,
  historyPartitions,
  moments,
  revenue,
  salesAndReturns,
} from './shop-history.ts'

export interface Tour extends Narration {
  readonly playhead: Playhead
  /** Of the broker; a second client is connected to it. */
  readonly server: string
  readonly connection?: ConnectionOptions
  /** For the views, which the tour keeps. */
  readonly viewDirectory: string
  readonly topics: { readonly history: string; readonly baskets: string; readonly measurement: string }
  readonly onImport: (progress: ImportProgress) => void
  readonly signal: AbortSignal
}

const file = 'online-retail.csv.gz'
const shownCountries = ['United Kingdom', 'Netherlands', 'EIRE']

export async function recordHistory(tour: Tour): Promise<void> {
  const { playhead, topics, signal } = tour
  step(tour, 1, "Record: a UK gift shop's 541,909 order lines, 2010-12-01 to 2011-12-09")
  await createTopic(playhead, topics.history, historyPartitions)
  const path = packagePath('examples', 'customer-journey', file)
  const done = await importFile({
    playhead,
    topic: topics.history,
    file: path,
    mapping: historyMapping,
    onProgress: tour.onImport,
    signal,
  })
  if (done.skipped > 0) {
    say(tour, `${count(done.skipped)} were here from an earlier run: an import continues, and nothing is there twice`)
  }
  if (done.appended > 0) {
    const rate = count(done.records / done.seconds)
    say(
      tour,
      `${count(done.appended)} events in ${seconds(done.seconds * 1_000)}: ${rate} rows a second, CSV parsing included,`,
    )
    say(tour, 'every batch on disk (fdatasync) before it was acknowledged')
  }
  const unnamed = (await playhead.topic(topics.history).stream(historyMapping.elseStream).info()).lastVersion + 1
  say(
    tour,
    `${count(done.streams - 1)} customers, a stream each; ${count(unnamed)} rows without one are in stream ${historyMapping.elseStream}`,
  )
}

export async function rewindCustomer(tour: Tour): Promise<void> {
  const journey = tour.playhead.topic(tour.topics.history).stream(customer)
  const { lastVersion } = await journey.info({ signal: tour.signal })
  step(tour, 2, `Rewind: customer ${customer}, ${count(lastVersion + 1)} events, as of any moment`)
  const rows: string[][] = []
  for (const asOf of moments) {
    const startedMs = performance.now()
    const cart = await journey.fold(cartOf, { asOf, signal: tour.signal })
    const tookMs = (performance.now() - startedMs).toFixed(0)
    rows.push([asOf, count(cart.lines), count(cart.quantity), pounds(cart.pence), `${tookMs} ms`, cart.last])
  }
  table(tour, ['as of', 'events', 'articles kept', 'spent', 'took', 'latest line'], rows)
}

/** Two tills, each with a connection of its own, decide on the same version; exactly one can be right. */
export async function decideTwice(tour: Tour): Promise<void> {
  step(tour, 3, 'Decide: two tills append to one basket, both expecting the version they saw')
  await createTopic(tour.playhead, tour.topics.baskets, 1)
  await using other = await connect(tour.server, {
    clientName: 'demo-till-2',
    signal: tour.signal,
    ...tour.connection,
  })
  const name = `basket-${customer}`
  const tills = [tour.playhead, other].map((client) => client.topic(tour.topics.baskets).stream(name))
  const [first] = tills as [EventStream, EventStream]
  const begun = await first.append({ type: 'BasketOpened', data: { customer } })
  say(tour, `both see ${name} at version ${begun.version}`)
  const append = async (till: EventStream, index: number): Promise<string> => {
    const event = { type: 'CheckedOut', data: { till: index + 1 } }
    try {
      const { version } = await till.append(event, { expectedVersion: begun.version, signal: tour.signal })
      return `till ${index + 1}: checked out, as version ${version}`
    } catch (error) {
      if (!isPlayheadError(error, 'wrongExpectedVersion')) throw error
      return `till ${index + 1}: refused, wrong-expected-version: ${error.message}`
    }
  }
  for (const outcome of await Promise.all(tills.map(append))) say(tour, outcome)
}

export async function rederiveRevenue(tour: Tour): Promise<void> {
  step(tour, 4, 'Rederive: revenue by country, a pure function of the whole history')
  await using store = lmdbViewStore(tour.viewDirectory)
  const topic = tour.playhead.topic(tour.topics.history)
  const first = view({ ...revenue, topic, store })
  sayDerived(tour, 1, await first.catchUp({ signal: tour.signal }))
  table(
    tour,
    ['country', 'revenue'],
    countryRows(
      first,
      (pence) => [pence],
      (pences) => pences,
    ),
  )

  tour.write('')
  say(
    tour,
    'The function changes: version 2 tells sales from returns. It is derived beside version 1, which goes on answering:',
  )
  let asked = 0
  const onProgress = (): void => {
    if (first.live()?.version === 1 && first.get('EIRE') !== undefined) asked++
  }
  const second = view({ ...salesAndReturns, topic, store })
  sayDerived(tour, 2, await second.catchUp({ signal: tour.signal, onProgress }))
  say(tour, `asked ${asked} times meanwhile, version 1 answered; then version 2 took over in one step`)
  const rows = countryRows(
    second,
    ({ sales, returns }) => [sales, returns],
    ([sales = 0, returns = 0]) => [sales, returns, sales + returns],
  )
  table(tour, ['country', 'sales', 'returns', 'revenue'], rows)
}

export async function measureDisk(tour: Tour): Promise<void> {
  const { playhead, topics, signal } = tour
  step(tour, 5, 'Measure: this machine, on this disk, every acknowledgement after fdatasync (acks=all)')
  await createTopic(playhead, topics.measurement, 1)
  try {
    const topic = playhead.topic(topics.measurement)
    const rate = await measureDurableRate(topic, signal)
    const perSecond = `${count(rate.recordsPerSecond)} records a second, ${(rate.bytesPerSecond / 1e6).toFixed(0)} MB/s`
    say(
      tour,
      `many at once: ${perSecond} (records of ${rate.recordBytes} bytes, batched, one partition, ${seconds(rate.tookMs)})`,
    )
    const trip = await measureRoundTrips(topic.stream('one-at-a-time'), signal)
    say(
      tour,
      `one at a time, each with an expected version: ${count(trip.perSecond)} events a second, half of them within ${trip.medianMs.toFixed(2)} ms`,
    )
  } finally {
    await playhead.admin.deleteTopic(topics.measurement)
  }
  const { rssBytes } = await playhead.status({ signal })
  say(tour, `memory now: broker ${count(rssBytes / 1e6)} MB, this demo ${count(process.memoryUsage.rss() / 1e6)} MB`)
}

async function createTopic(playhead: Playhead, name: string, partitions: number): Promise<void> {
  try {
    await playhead.admin.createTopic(name, { partitions })
  } catch (error) {
    if (!isPlayheadError(error, 'topicExists')) throw error
  }
}

function sayDerived(tour: Tour, version: number, { events, eventsPerSecond }: ViewProgress): void {
  say(tour, `version ${version}: ${count(events)} events replayed, ${count(eventsPerSecond)} a second`)
}

/** The countries that are shown, and the sum of all; `amounts` of a state are summed, `columns` makes what is shown of them. */
function countryRows<State>(
  derived: View<State>,
  amounts: (state: State) => number[],
  columns: (amounts: number[]) => number[],
): string[][] {
  const all: number[] = []
  let countries = 0
  for (const [, state] of derived.entries()) {
    countries++
    for (const [index, amount] of amounts(state).entries()) all[index] = (all[index] ?? 0) + amount
  }
  const rows = shownCountries.map((country): [string, number[]] => {
    const state = derived.get(country)
    return [country, state === undefined ? [] : amounts(state)]
  })
  rows.push([`everywhere (${countries})`, all])
  return rows.map(([name, values]) => [name, ...columns(values).map(pounds)])
}
