/** Shop: a broker in this process with one topic of sales, and what the sums over them must be. For tests of views. */
import { join } from 'node:path'
import { Broker } from '../../broker/broker.ts'
import { connect } from '../../client/index.ts'
import type { Playhead, Topic } from '../../client/index.ts'
import { TemporaryDirectory } from '../temporary-directory.ts'
import type { Sale } from './sale.ts'

const countries = ['United Kingdom', 'Netherlands', 'EIRE', 'Zürich', '']

export class Shop implements AsyncDisposable {
  readonly playhead: Playhead
  readonly topic: Topic
  readonly server: string
  readonly directory: string
  /** Pence by country of everything sold so far. */
  readonly sums = new Map<string, number>()
  readonly #broker: Broker
  readonly #temporary: TemporaryDirectory
  #sold = 0

  private constructor(temporary: TemporaryDirectory, broker: Broker, playhead: Playhead) {
    this.#temporary = temporary
    this.#broker = broker
    this.playhead = playhead
    this.directory = temporary.path
    this.server = `127.0.0.1:${broker.port}`
    this.topic = playhead.topic('sales')
  }

  static async open(partitions = 3): Promise<Shop> {
    const temporary = await TemporaryDirectory.make()
    const broker = await Broker.start({ data: join(temporary.path, 'data'), port: 0, httpPort: 0 })
    const shop = new Shop(temporary, broker, await connect(`127.0.0.1:${broker.port}`))
    await shop.playhead.admin.createTopic('sales', { partitions })
    return shop
  }

  get sold(): number {
    return this.#sold
  }

  /** Records `count` sales, to ten customers in turn, and resolves when they are durable. */
  async sell(count: number, type = 'Sold'): Promise<void> {
    const byCustomer = Map.groupBy(
      Array.from({ length: count }, () => this.#sold++),
      (index) => `customer-${index % 10}`,
    )
    const appends = Array.from(byCustomer, ([customer, indices]) => {
      const sales = indices.map(
        (index): Sale => ({ country: countries[index % countries.length] ?? '', pence: 100 + index }),
      )
      for (const { country, pence } of sales) this.sums.set(country, (this.sums.get(country) ?? 0) + pence)
      return this.topic.stream(customer).append(sales.map((data) => ({ type, data })))
    })
    await Promise.all(appends)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.playhead.close()
    await this.#broker.stop()
    await this.#temporary[Symbol.asyncDispose]()
  }
}
