"""What ships as default, one file per method, registered through the same hooks as anybody's.

A new built-in is one file, one line here, one test. The modules import torch and their libraries only when a stage
runs, so that listing them is quick.
"""

BUILTINS = (
    # before stable-diffusion, which is asked last and says what is wrong with a model that nobody understands
    "uce.plugins.backbones.stable_diffusion_3:StableDiffusion3BackbonePlugin",
    "uce.plugins.backbones.flux:FluxBackbonePlugin",
    "uce.plugins.backbones.stable_diffusion_xl:StableDiffusionXLBackbonePlugin",
    "uce.plugins.backbones.stable_diffusion:StableDiffusionBackbonePlugin",
    "uce.plugins.extractors.self_attention:SelfAttentionExtractor",
    "uce.plugins.extractors.joint_attention:JointAttentionExtractor",
    "uce.plugins.extractors.multi_step:MultiStepExtractor",
    "uce.plugins.extractors.features:FeaturesExtractor",
    "uce.plugins.clusterers.finch:FinchClusterer",
    "uce.plugins.clusterers.kmeans:KMeansClusterer",
    "uce.plugins.clusterers.hierarchical:HierarchicalClusterer",
    "uce.plugins.clusterers.hdbscan:HdbscanClusterer",
    "uce.plugins.clusterers.spectral:SpectralClusterer",
    "uce.plugins.clusterers.normalized_cuts:NormalizedCutsClusterer",
    "uce.plugins.clusterers.given:GivenClusterer",
    "uce.plugins.refiners.saliency:SaliencyRefiner",
    "uce.plugins.refiners.merge:MergeRefiner",
    "uce.plugins.refiners.edges:EdgesRefiner",
    "uce.plugins.refiners.smooth:SmoothRefiner",
    "uce.plugins.refiners.split:SplitRefiner",
    "uce.plugins.refiners.background:BackgroundRefiner",
    "uce.plugins.refiners.none:NoRefiner",
    "uce.plugins.initializers.split_merge:SplitMergeInitializer",
    "uce.plugins.initializers.random:RandomInitializer",
    "uce.plugins.initializers.word_search:WordSearchInitializer",
    "uce.plugins.initializers.words:WordsInitializer",
    "uce.plugins.initializers.nearest_words:NearestWordsInitializer",
    "uce.plugins.optimizers.masked_denoising:MaskedDenoisingOptimizer",
    "uce.plugins.optimizers.lora:LoraOptimizer",
    "uce.plugins.optimizers.textual_inversion:TextualInversionOptimizer",
    "uce.plugins.encoders.efficientnet_lite0:EfficientNetLite0EncoderPlugin",
    "uce.plugins.encoders.clip:ClipEncoderPlugin",
    "uce.plugins.encoders.dino:DinoEncoderPlugin",
    "uce.plugins.exporters.diffusers:DiffusersExporter",
    "uce.plugins.exporters.a1111:A1111Exporter",
    "uce.plugins.exporters.comfyui:ComfyUIExporter",
    "uce.plugins.exporters.hub_folder:HubFolderExporter",
    "uce.plugins.executors.local:LocalExecutor",
    "uce.plugins.executors.processes:ProcessesExecutor",
    "uce.plugins.executors.ray:RayExecutor",
)
