/** What the shop sells. */

export interface Product {
  id: string;
  name: string;
  about: string;
  cents: number;
  /** The lines of its picture, in a square of 64. */
  drawing: string;
}

export const PRODUCTS: readonly Product[] = [
  {
    id: "mug",
    name: "Stoneware mug",
    about: "Holds a quarter of a litre, and the warmth.",
    cents: 1_900,
    drawing: "M14 24h28v20a8 8 0 0 1-8 8H22a8 8 0 0 1-8-8zM42 29h4a6.5 6.5 0 0 1 0 13h-4M22 10c-3 4 3 5 0 9M33 10c-3 4 3 5 0 9",
  },
  {
    id: "kettle",
    name: "Gooseneck kettle",
    about: "Pours as slowly as you like.",
    cents: 4_900,
    drawing: "M22 26h22l4 28H18zM25 26c0-9 16-9 16 0M33 19v-5M19 47C9 45 15 27 5 25M46 32c12-2 13 15 2 17",
  },
  {
    id: "grinder",
    name: "Hand grinder",
    about: "Two minutes of work for a better cup.",
    cents: 9_900,
    drawing: "M22 26h20v26a4 4 0 0 1-4 4H26a4 4 0 0 1-4-4zM24 26c0-9 16-9 16 0M32 19v-7h17M49 12V7M22 41h20",
  },
  {
    id: "machine",
    name: "Espresso machine",
    about: "Nine bars, ready in a minute.",
    cents: 64_900,
    drawing: "M10 10h44v13H10zM15 23v31M9 54h46M27 23v5h12v-5M30 28v6M36 28v6M26 41h14v6a5 5 0 0 1-5 5h-4a5 5 0 0 1-5-5zM46 16.5h.1",
  },
];

/** An amount of money, for people. */
export const dollars = (cents: number): string => `$${(cents / 100).toFixed(2)}`;
