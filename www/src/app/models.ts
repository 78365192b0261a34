/** Which model paints: the one that comes with the page, or one converted in this browser. */
import type { ConvertedModel, Engine } from "../engine/index";
import { MODEL_SETTINGS } from "./form";
import { cardOf, rememberChoice, rememberedChoice, rememberedModels, rememberModels } from "./library";
import { defaultAddress, fetchModelCard, MODEL_URL, type ModelCard } from "./model";
import { isBusy, isConverting, type ModelSpeed, type StudioState } from "./state";
import { lookIntoStorage } from "./storage";

/** What the models need of the studio. */
export interface ModelsHost {
  state(): StudioState;
  show(changes: Partial<StudioState>): void;
  /** Stops live painting with the model chosen so far. */
  leave(): void;
  /** The engine, without a model. */
  engine(): Promise<Engine>;
  /** Tells what went wrong. */
  fail(error: unknown): void;
}

/** The models' actions. None rejects. */
export class Models {
  readonly #host: ModelsHost;

  constructor(host: ModelsHost) {
    this.#host = host;
  }

  /** Looks which models there are, and chooses the one chosen last. */
  async open(): Promise<void> {
    const localModels = rememberedModels();
    this.#host.show({ localModels });
    this.#choose(rememberedChoice(localModels));
    await fetchModelCard(MODEL_URL).then(
      (model) => this.#introduce(model),
      () => this.#introduce("unreadable"),
    );
  }

  /** Paints with another model from now on: the default one, or one converted in this browser. */
  choose(url: string): void {
    if (url === this.#state.modelUrl || isBusy(this.#state) || isConverting(this.#state)) return;
    this.#host.leave();
    this.#choose(url);
    rememberChoice(url);
  }

  /** Looks what is kept in this browser, and how much room there is. */
  async look(): Promise<void> {
    this.#host.show({ storage: await lookIntoStorage(() => this.#host.engine()) });
  }

  /** Measures how long a picture by that model takes on this device, without downloading it. */
  async measure(address: string): Promise<void> {
    const show = (speed: ModelSpeed | "measuring" | null) => {
      this.#host.show({ speeds: { ...this.#state.speeds, [address]: speed } });
    };
    show("measuring");
    try {
      const { fits, pictureMs } = await (await this.#host.engine()).requirements(address);
      show({ fits, pictureMs });
    } catch (error) {
      show(null);
      this.#host.fail(error);
    }
  }

  /** Removes a model, or what is there of one, from this browser. */
  async remove(address: string): Promise<void> {
    const { modelUrl, localModels } = this.#state;
    if (isBusy(this.#state) || isConverting(this.#state)) return;
    if (address === modelUrl) this.choose(MODEL_URL);
    const others = localModels.filter((local) => local.address !== address);
    this.#host.show({ localModels: others });
    rememberModels(others);
    try {
      await (await this.#host.engine()).remove(address);
      if (address === defaultAddress() && modelUrl === MODEL_URL) this.#host.show({ isModelLoaded: false });
    } catch (error) {
      this.#host.fail(error);
    }
    await this.look();
  }

  /** Chooses a model that the page lists, by its name; whether it is the chosen one then. */
  chooseNamed(name: string): boolean {
    const { model, defaultModel, localModels } = this.#state;
    const isNamed = (card: ModelCard | "unreadable" | null) => card !== null && card !== "unreadable" && card.name === name;
    if (isNamed(model)) return true;
    const local = localModels.find(({ card }) => isNamed(card))?.address;
    const url = isNamed(defaultModel) ? MODEL_URL : local;
    if (url !== undefined) this.choose(url);
    return url === this.#state.modelUrl;
  }

  /** Takes a model that was just converted, and chooses it. */
  adopt(model: ConvertedModel): void {
    const added = { address: model.address, card: cardOf(model) };
    const localModels = [...this.#state.localModels.filter(({ address }) => address !== model.address), added];
    this.#host.show({ localModels });
    rememberModels(localModels);
    this.#choose(model.address);
    rememberChoice(model.address);
  }

  get #state(): StudioState {
    return this.#host.state();
  }

  #choose(url: string): void {
    const local = this.#state.localModels.find(({ address }) => address === url);
    this.#host.show({ ...MODEL_SETTINGS, modelUrl: url, model: local?.card ?? this.#state.defaultModel, isModelLoaded: false });
  }

  #introduce(defaultModel: ModelCard | "unreadable"): void {
    const isChosen = this.#state.modelUrl === MODEL_URL;
    this.#host.show({ defaultModel, model: isChosen ? defaultModel : this.#state.model });
  }
}
