/** Sale: the events of the test shop, and the view most tests derive from them. */
import type { StreamEvent } from '../../client/index.ts'
import type { ViewOptions } from '../../processing/index.ts'

export interface Sale {
  readonly country: string
  readonly pence: number
}

export const saleOf = (event: StreamEvent): Sale => event.data as Sale

/** Revenue a country; what most tests derive. */
export const revenue = {
  name: 'revenue',
  version: 1,
  key: (event: StreamEvent) => saleOf(event).country,
  initial: 0,
  apply: (pence: number, event: StreamEvent) => pence + saleOf(event).pence,
} satisfies Partial<ViewOptions<number>>
