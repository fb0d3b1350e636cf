// Views that are fetched when they are first looked at.

import type { ComponentType } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Failure, Loading } from "./ui";

type Module = { default: ComponentType };

/** Make a component that fetches itself; while it does it shows that something is loading. */
export function lazy(fetchModule: () => Promise<Module>): ComponentType {
  let loaded: ComponentType | null = null;
  return function Lazy() {
    const [, redraw] = useState(0);
    const [failed, setFailed] = useState<unknown>(null);
    useEffect(() => {
      if (loaded || failed) return;
      fetchModule().then((module) => {
        loaded = module.default;
        redraw((times) => times + 1);
      }, setFailed);
    }, [failed]);
    if (loaded) {
      const View = loaded;
      return <View />;
    }
    // A part of the page is missing when the service was renewed since the page was opened.
    if (failed) return <Failure error={failed} retry={() => location.reload()} />;
    return <Loading />;
  };
}
