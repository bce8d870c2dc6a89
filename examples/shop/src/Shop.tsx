/** The shop: who you are, what it sells, and what is different for you. Every difference is a flag's answer. */

import {
  ExperimentVariant,
  FeatureGate,
  PageTracker,
  TrackedButton,
  useExperiment,
  useFeatureFlag,
  useTinyCDP,
  useTracking,
} from "@tinycdp/sdk/react";
import type { FormEvent } from "react";
import { useState } from "react";
import type { Product } from "./products";
import { dollars, PRODUCTS } from "./products";

interface Order {
  number: number;
  product: Product;
  cents: number;
}

export function Shop() {
  const [orders, setOrders] = useState<readonly Order[]>([]);
  const bought = (product: Product, cents: number) =>
    setOrders((before) => [{ number: before.length + 1, product, cents }, ...before]);

  return (
    <main>
      <PageTracker page="shop" />
      <header>
        <h1>Corner Coffee</h1>
        <Person />
      </header>
      <div role="status">
        <Shipping />
        <MemberNote />
      </div>
      <ul className="products">
        {PRODUCTS.map((product) => (
          <ProductCard key={product.id} product={product} onBought={bought} />
        ))}
      </ul>
      {orders.length > 0 && <Orders orders={orders} />}
      <FeatureGate flag="help_chat" loading={null}>
        <aside className="help" aria-label="Help">
          <b>Hard to choose?</b> You have looked at three things by now. Ask us: we drink all of it.
        </aside>
      </FeatureGate>
    </main>
  );
}

/** Signs in and out. What was done before signing in counts for the user: the browser's id is linked to theirs. */
function Person() {
  const { client, userId, setUserId } = useTinyCDP();
  const { identify } = useTracking();

  function signIn(submitted: FormEvent<HTMLFormElement>) {
    submitted.preventDefault();
    const name = String(new FormData(submitted.currentTarget).get("name")).trim();
    if (name) void client.identify({ userId: name, traits: { name, source: "shop" } });
  }

  if (userId === null) {
    return (
      <form className="person" onSubmit={signIn}>
        <input name="name" aria-label="Your name" placeholder="Your name" maxLength={64} autoComplete="off" required />
        <button type="submit">Sign in</button>
      </form>
    );
  }
  return (
    <div className="person">
      <span>
        Hello, <b>{userId}</b>
      </span>
      <button type="button" className="quiet" onClick={() => void identify({ plan: "premium" })}>
        Go premium
      </button>
      <button type="button" className="quiet" onClick={() => setUserId(null)}>
        Sign out
      </button>
    </div>
  );
}

/** The banner. It flips with the purchase that reaches 500 dollars, and for premium. */
function Shipping() {
  return (
    <FeatureGate
      flag="free_shipping"
      loading={<p className="banner">Welcome</p>}
      fallback={<p className="banner">Shipping is $5. It is free once you have spent $500.</p>}
    >
      <p className="banner won">Free shipping: everything comes to you for nothing.</p>
    </FeatureGate>
  );
}

/** What is taken off every price, by the flag's value. */
const usePercentOff = (): number => useFeatureFlag("member_price", { percent_off: 0 }).value.percent_off;

function MemberNote() {
  const percentOff = usePercentOff();
  if (!percentOff) return <p className="note">Buy anything, and all prices fall by a fifth for 30 days.</p>;
  return <p className="note won">Thank you for buying here. Everything is {percentOff} % off for you.</p>;
}

function ProductCard({ product, onBought }: { product: Product; onBought: (product: Product, cents: number) => void }) {
  const { track } = useTracking();
  const [isOpen, setIsOpen] = useState(false);
  const percentOff = usePercentOff();
  const { variant } = useExperiment("checkout_button", "plain");
  const cents = Math.round((product.cents * (100 - percentOff)) / 100);

  function buy() {
    onBought(product, cents);
    track("purchase", { product: product.id, amount: cents / 100, currency: "USD" });
  }

  function look() {
    if (!isOpen) track("Product Viewed", { product: product.id });
    setIsOpen(!isOpen);
  }

  return (
    <li className="product" aria-label={product.name}>
      <svg viewBox="0 0 64 64" aria-hidden="true">
        <path d={product.drawing} />
      </svg>
      <h2>{product.name}</h2>
      <p className="price">
        {percentOff > 0 && <s>{dollars(product.cents)}</s>} <b>{dollars(cents)}</b>
      </p>
      {isOpen && <p>{product.about}</p>}
      <div className="actions">
        <button type="button" onClick={buy}>
          {variant === "promise" ? "Buy now" : "Buy"}
        </button>
        <TrackedButton type="button" className="quiet" trackingEvent="details_clicked" aria-expanded={isOpen} onClick={look}>
          Details
        </TrackedButton>
      </div>
      <ExperimentVariant experiment="checkout_button" variant="promise">
        <small>Yours tomorrow</small>
      </ExperimentVariant>
    </li>
  );
}

function Orders({ orders }: { orders: readonly Order[] }) {
  const cents = orders.reduce((sum, order) => sum + order.cents, 0);
  return (
    <section className="orders" aria-label="Your orders">
      <h2>
        {orders.length === 1 ? "One order" : `${orders.length} orders`}, {dollars(cents)}
      </h2>
      <ol reversed>
        {orders.slice(0, 5).map(({ number, product, cents: paid }) => (
          <li key={number} value={number}>
            {product.name} <span>{dollars(paid)}</span>
          </li>
        ))}
      </ol>
    </section>
  );
}
