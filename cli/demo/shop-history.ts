/**
 * ShopHistory: what the demo knows about its data: the order lines of examples/customer-journey/, a cart folded from one customer's,
 * and the two versions of the revenue view. Pure. Called by the steps of the demo.
 */
import type { Reducer, StreamEvent } from '../../client/index.ts'

/** How the file becomes events. */
export const historyMapping = {
  format: 'csv',
  stream: 'CustomerID',
  elseStream: 'no-customer',
  type: '=OrderLine',
  time: 'InvoiceDate',
  numbers: ['Quantity', 'UnitPrice'],
} as const

export const historyPartitions = 4
/** A customer from Ireland whose 5,903 events include many returns. */
export const customer = '14911'
export const moments = ['2011-01-01T00:00:00Z', '2011-06-01T00:00:00Z', '2011-12-10T00:00:00Z'] as const

interface OrderLine {
  readonly Description: string
  readonly Quantity: number
  readonly UnitPrice: number
  readonly Country: string
}

const lineOf = (event: StreamEvent): OrderLine => event.data as OrderLine

/** Pence, exact: the price of one article is rounded to the penny, then multiplied. */
const penceOf = ({ Quantity, UnitPrice }: OrderLine): number => Quantity * Math.round(UnitPrice * 100)

export interface Cart {
  lines: number
  returns: number
  quantity: number
  pence: number
  last: string
}

export const cartOf: Reducer<Cart> = {
  initial: () => ({ lines: 0, returns: 0, quantity: 0, pence: 0, last: '' }),
  apply(cart, event) {
    const line = lineOf(event)
    cart.lines++
    if (line.Quantity < 0) cart.returns++
    cart.quantity += line.Quantity
    cart.pence += penceOf(line)
    cart.last = `${line.Quantity} × ${line.Description}`
    return cart
  },
}

export interface SalesAndReturns {
  readonly sales: number
  readonly returns: number
}

const byCountry = {
  name: 'revenue-by-country',
  key: (event: StreamEvent) => lineOf(event).Country,
}

/** Version 1: one number a country. */
export const revenue = {
  ...byCountry,
  version: 1,
  initial: 0,
  apply: (pence: number, event: StreamEvent) => pence + penceOf(lineOf(event)),
}

/** Version 2: the function was changed, returns are told from sales. */
export const salesAndReturns = {
  ...byCountry,
  version: 2,
  initial: { sales: 0, returns: 0 },
  apply({ sales, returns }: SalesAndReturns, event: StreamEvent): SalesAndReturns {
    const line = lineOf(event)
    const pence = penceOf(line)
    return line.Quantity < 0 ? { sales, returns: returns + pence } : { sales: sales + pence, returns }
  },
}
