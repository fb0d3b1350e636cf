// The map: the whole library on a plane, and what one does with it.

import { useEffect } from "preact/hooks";
import { count } from "../format";
import { Empty, Failure, Loading } from "../ui";
import { Colours } from "./colours";
import { List } from "./list";
import "./map.css";
import { Plot } from "./plot";
import * as map from "./state";

const METHODS = { pacmap: "PaCMAP", pca: "principal components" } as const;

export default function MapView() {
  useEffect(() => {
    const stop = new AbortController();
    void map.load(stop.signal);
    return () => stop.abort();
  }, []);
  return (
    <div class="map-view">
      <Head />
      <Body />
    </div>
  );
}

function Head() {
  const points = map.plane.value;
  return (
    <header class="map-head">
      <h1>Map</h1>
      {points && points.ids.length > 0 && (
        <p class="soft small">
          {count(points.ids.length, "track")}, laid out by {METHODS[points.method]}: what lies close
          sounds alike
        </p>
      )}
    </header>
  );
}

function Body() {
  const points = map.plane.value;
  if (!points && map.failure.value) {
    return (
      <Failure
        error={map.failure.value}
        title="The map is not there"
        retry={() => void map.load(new AbortController().signal)}
      />
    );
  }
  if (!points) {
    return (
      <Loading>
        {map.computing.value
          ? "Drawing the map for the first time: this takes a moment …"
          : "Loading the map …"}
      </Loading>
    );
  }
  if (points.ids.length === 0) {
    return (
      <Empty icon="map" title="Nothing on the map yet">
        <p>
          Add some music in the <a href="#/library">library</a>, and it appears here.
        </p>
      </Empty>
    );
  }
  return (
    <div class="map-grid">
      <Plot />
      <div class="map-side">
        <Colours />
        <List />
      </div>
    </div>
  );
}
