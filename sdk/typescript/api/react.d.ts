import { Decision, TinyCDPClient, TinyCDPOptions } from "@tinycdp/sdk";
import { ButtonHTMLAttributes, ReactElement, ReactNode } from "react";
type InitialDecisions = Record<string, Decision>;
interface TinyCDPProviderProps extends Partial<TinyCDPOptions> {
  children?: ReactNode;
  client?: TinyCDPClient | undefined;
  userId?: string | undefined;
  initialDecisions?: InitialDecisions | undefined;
}
declare function TinyCDPProvider({
  children,
  client: given,
  userId,
  initialDecisions,
  ...options
}: TinyCDPProviderProps): ReactElement;
declare function useTinyCDP(): {
  client: TinyCDPClient;
  userId: string | null;
  setUserId: (id: string | null) => void;
};
interface FeatureFlag<T> {
  value: T;
  loading: boolean;
  error: string | null;
  decision: Decision | undefined;
}
declare function useFeatureFlag<T = boolean>(flag: string, defaultValue?: T): FeatureFlag<T>;
declare function useTracking(): {
  track: (event: string, properties?: Record<string, unknown>) => void;
  identify: (traits: Record<string, unknown>) => Promise<void>;
};
declare function useExperiment(name: string, defaultVariant?: string): {
  variant: string;
  loading: boolean;
};
interface FeatureGateProps {
  flag: string;
  children?: ReactNode;
  fallback?: ReactNode;
  loading?: ReactNode;
}
declare function FeatureGate({
  flag,
  children,
  fallback,
  loading
}: FeatureGateProps): ReactElement;
interface TrackedButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  trackingEvent?: string;
  trackingProperties?: Record<string, unknown>;
}
declare function TrackedButton({
  trackingEvent,
  trackingProperties,
  onClick,
  ...button
}: TrackedButtonProps): ReactElement;
declare function PageTracker({
  page
}: {
  page: string;
}): null;
interface ExperimentVariantProps {
  experiment: string;
  variant: string;
  children?: ReactNode;
}
declare function ExperimentVariant({
  experiment,
  variant,
  children
}: ExperimentVariantProps): ReactElement;
export { ExperimentVariant, ExperimentVariantProps, FeatureFlag, FeatureGate, FeatureGateProps, InitialDecisions, PageTracker, TinyCDPProvider, TinyCDPProviderProps, TrackedButton, TrackedButtonProps, useExperiment, useFeatureFlag, useTinyCDP, useTracking };
