/** Where a broker listens for its clients, and for the other brokers. Neighbours: ClusterNode tells it, LeaderLinks goes there. */
export interface BrokerAddress {
  readonly host: string
  readonly port: number
}
