/** OrderLine: one event of the shop's history: a line of an order, or of a return, with what each article cost. Pure; used by all programs here. */
import type { StreamEvent } from 'playhead'

export interface OrderLine {
  readonly InvoiceNo: string
  readonly StockCode: string
  readonly Description: string
  /** Negative when articles came back. */
  readonly Quantity: number
  /** Pounds for one article. */
  readonly UnitPrice: number
  readonly Country: string
}

export function orderLineOf(event: StreamEvent): OrderLine {
  return event.data as OrderLine
}

/** What the line is worth, in pence: the price of one article is rounded to the penny, then multiplied, so sums are exact integers. */
export function penceOf(line: OrderLine): number {
  return line.Quantity * Math.round(line.UnitPrice * 100)
}

export function pounds(pence: number): string {
  return (pence / 100).toLocaleString('en-GB', { style: 'currency', currency: 'GBP' })
}
