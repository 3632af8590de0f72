/**
 * Revenue: two versions of one view over the whole history. Version 1 is one number a country; version 2 tells sales from returns. While
 * version 2 is derived, version 1 goes on answering; then version 2 takes over in one step.
 *
 *   node examples/customer-journey/revenue.ts [1|2] [DIRECTORY]          default: version 1, in ./data/views
 */
import { connect } from 'playhead'
import type { Topic } from 'playhead'
import { lmdbViewStore, view } from 'playhead/processing'
import type { View, ViewProgress, ViewStore } from 'playhead/processing'
import { orderLineOf, penceOf, pounds } from './order-line.ts'

export interface SalesAndReturns {
  readonly sales: number
  readonly returns: number
}

export function revenueView(topic: Topic, store: ViewStore): View<number> {
  return view({
    name: 'revenue-by-country',
    version: 1,
    topic,
    store,
    key: (event) => orderLineOf(event).Country,
    initial: 0,
    apply: (pence, event) => pence + penceOf(orderLineOf(event)),
  })
}

export function salesAndReturnsView(topic: Topic, store: ViewStore): View<SalesAndReturns> {
  return view({
    name: 'revenue-by-country',
    version: 2,
    topic,
    store,
    key: (event) => orderLineOf(event).Country,
    initial: { sales: 0, returns: 0 },
    apply({ sales, returns }, event) {
      const line = orderLineOf(event)
      const pence = penceOf(line)
      return line.Quantity < 0 ? { sales, returns: returns + pence } : { sales: sales + pence, returns }
    },
  })
}

async function main(version: string, directory: string): Promise<void> {
  await using playhead = await connect(process.env['PLAYHEAD_SERVER'] ?? 'playhead://localhost:7420')
  await using store = lmdbViewStore(directory)
  const carts = playhead.topic('carts')
  if (version === '1') {
    const revenue = revenueView(carts, store)
    report(await revenue.catchUp())
    for (const [country, pence] of revenue.entries()) console.log(`${country}: ${pounds(pence)}`)
  } else {
    const revenue = salesAndReturnsView(carts, store)
    report(await revenue.catchUp())
    for (const [country, { sales, returns }] of revenue.entries()) {
      console.log(`${country}: ${pounds(sales + returns)} = sales ${pounds(sales)}, returns ${pounds(returns)}`)
    }
  }
}

function report({ events, eventsPerSecond }: ViewProgress): void {
  console.error(
    `${events.toLocaleString('en-GB')} events seen, ${eventsPerSecond.toLocaleString('en-GB')} a second in this run`,
  )
}

if (import.meta.main) await main(process.argv[2] ?? '1', process.argv[3] ?? 'data/views')
